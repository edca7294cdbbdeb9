"""The errors of `python -m synthetic`, `train`, `export` and `server` in one table: what was done, is said, the code.

tests/client/commands/test_errors.py has those of `client`. A last test holds that no place that makes an error is left
out, but for those that say which test has them.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from export.__main__ import main as export
from export.repository import TEMPLATE
from server.__main__ import main as serve
from synthetic.__main__ import app as synthetic
from tests.support.datasets import make_files
from tests.support.error_places import Places
from tests.support.short_run import SETTINGS
from train.__main__ import main as train
from train.checkpoint import Checkpoint, checkpoint_path, save_checkpoint
from train.data import load_training_data
from train.launch import launch
from train.networks import Networks
from train.presets import save_settings
from train.settings import Settings
from train.stages.iqa import IQAStage

PLACES = Places("synthetic", "train", "export", "server")
Env = SimpleNamespace
"""Of a row: `tmp`, an empty folder; `data`, a dataset of six people whose images are empty files; `run`, a finished run
on it; `repository`, what was exported of it; `monkeypatch`."""


@dataclass(frozen=True)
class Row:
    """done: what somebody does. code, said: how the command ends. words: the command and its arguments."""

    done: str
    code: int
    said: str
    words: Callable[[Env], tuple[Any, ...]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A dataset and a run of untrained networks, which say that they are done."""
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("finished")
    make_files(data, [f"bounding_box_train/{pid:04d}_c{cam}s1_000001_00.jpg" for pid in range(1, 7) for cam in (1, 2)])
    (data / "attributes.csv").write_text("pid,hat\n" + "".join(f"{pid},yes\n" for pid in range(1, 7)))
    networks = Networks.untrained(SETTINGS.network, SETTINGS.joint.weighting)
    save_settings(SETTINGS, run / "settings.yaml")
    (run / "data.json").write_text(json.dumps(load_training_data(data, 0).description()))
    for stage, names in (("iqa", ("iqa",)), ("apan", ("apan",)), ("joint", ("apn", "apan", "fusion", "weighting"))):
        states = {name: getattr(networks, name).state_dict() for name in names}
        whole = Checkpoint(stage, 2, True, 0.5, (1, 2, 3), states, {}, {}, {})
        save_checkpoint(run, whole, best=False)
        save_checkpoint(run, whole, best=True)
    return data, run


@pytest.fixture
def env(finished, tmp_path, monkeypatch, request):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(finished[0], data)
    shutil.copytree(finished[1], run)
    (tmp_path / "tmp").mkdir()
    return Env(tmp=tmp_path / "tmp", data=data, run=run, monkeypatch=monkeypatch)


def training(env: Env, *more: Any, out: Path | None = None, **settings: Any) -> tuple[Any, ...]:
    """`python -m train` by the short settings, changed so."""
    preset = env.tmp / "preset.yaml"
    preset.write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json") | settings))
    return ("train", "--preset", preset, "--data", env.data, "--out", out or env.tmp / "out", *more)


def preset(env: Env, text: str) -> tuple[Any, ...]:
    (env.tmp / "own.yaml").write_text(text)
    return ("train", "--preset", env.tmp / "own.yaml", "--data", env.data, "--out", env.tmp / "out")


def without(env: Env, *files: Path) -> Env:
    for file in files:
        file.unlink()
    return env


def stored(env: Env, content: Any, name: str = "weights.pt") -> Path:
    torch.save(content, env.tmp / name)
    return env.tmp / name


def taught(env: Env, networks: dict[str, Any]) -> Env:
    """The run with a quality network."""
    save_checkpoint(env.run, Checkpoint("quality", 2, True, 0.0, (), networks, {}, {}, {}), best=False)
    return env


def changed(env: Env, stage: str, **values: Any) -> Env:
    """A checkpoint of the run with other values."""
    path = checkpoint_path(env.run, stage)
    torch.save(torch.load(path, weights_only=True) | values, path)
    return env


def refitted(env: Env, **settings: Any) -> Env:
    """The run says that it refits another one."""
    changes = {"refits": str(env.tmp)} | settings
    save_settings(Settings.model_validate(SETTINGS.model_dump() | changes), env.run / "settings.yaml")
    return env


def exporting(env: Env, *more: Any) -> tuple[Any, ...]:
    return ("export", env.run, "--repository", env.tmp / "repository", *more)


def repository(env: Env, name: str = "repository") -> Path:
    shutil.copytree(TEMPLATE, env.tmp / name)
    return env.tmp / name


def serving(env: Env, *more: Any, folder: Path | None = None) -> tuple[Any, ...]:
    ports = ("--http-port", 0, "--grpc-port", 0, "--metrics-port", 0)
    return ("server", "--repository", folder or repository(env), *ports, *more)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def manifest(env: Env, text: str) -> Path:
    """A repository whose manifest is that text, as protobuf writes it."""
    folder = repository(env)
    config = folder / "qafm" / "config.pbtxt"
    value = json.dumps(text)
    config.write_text(f'{config.read_text()}\nparameters {{ key: "manifest" value {{ string_value: {value} }} }}\n')
    return folder


def no_triton(env: Env, folder: Path) -> tuple[Any, ...]:
    env.monkeypatch.setenv("QAFM_TRITON", str(folder))
    return serving(env)


def program(path: Path, text: str) -> Path:
    written(path, f"#!/bin/sh\n{text}\n").chmod(0o755)
    return path


ROWS = [
    # --- python -m synthetic
    Row(
        "a sheet that is no PNG",
        2,
        "--contact-sheet: expected the name of a .png file, got sheet.jpg",
        lambda e: ("synthetic", "--out", e.tmp / "new", "--contact-sheet", "sheet.jpg"),
    ),
    Row(
        "two sizes",
        2,
        "--full-size means --size full, got --size study too: give one of the two",
        lambda e: ("synthetic", "--out", e.tmp / "new", "--size", "study", "--full-size"),
    ),
    Row(
        "no workers",
        2,
        "workers: expected 1 or more, got 0",
        lambda e: ("synthetic", "--out", e.tmp / "new", "--workers", 0),
    ),
    Row(
        "a fraction of more than all",
        2,
        "degraded: expected 0 to 1, got 2.0",
        lambda e: ("synthetic", "--out", e.tmp / "new", "--degraded", 2),
    ),
    Row(
        "drawing into a file",
        2,
        "is a file; expected a folder to write the dataset into",
        lambda e: ("synthetic", "--out", written(e.tmp / "file", "x")),
    ),
    Row(
        "drawing over something else",
        2,
        "the folder is not empty and holds no dataset made by synthetic",
        lambda e: ("synthetic", "--out", written(e.tmp / "full" / "file", "x").parent),
    ),
    # --- python -m train
    Row(
        "training by no settings",
        2,
        "nothing says how to train: expected --preset, --from or --refit",
        lambda e: ("train", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a preset that is not there",
        2,
        "no preset 'best'; the presets are demo, market1501",
        lambda e: ("train", "--preset", "best", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a settings file that is not there",
        2,
        "cannot be read as settings",
        lambda e: ("train", "--preset", e.tmp / "no.yaml", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row("a settings file that is a list", 2, "expected a mapping of settings, got list", lambda e: preset(e, "[1]")),
    Row("an unknown setting", 2, "unknown setting 'sed'; did you mean 'seed'?", lambda e: preset(e, "sed: 1")),
    Row("a setting out of range", 2, "iqa.epochs = 0:", lambda e: preset(e, "iqa: {epochs: 0}")),
    Row(
        "attributes and one branch",
        2,
        "are for two branches, and without attributes there is one",
        lambda e: preset(e, "attributes: false"),
    ),
    Row(
        "a refit with a preset",
        2,
        "a refit has the settings of its run: give --refit without --preset",
        lambda e: training(e, "--refit", e.run),
    ),
    Row(
        "a refit without attributes",
        2,
        "give --refit without --without-attributes",
        lambda e: ("train", "--refit", e.run, "--without-attributes", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a start with weights",
        2,
        "--from takes the weights of a run: give it without --weights",
        lambda e: ("train", "--from", e.run, "--weights", "none", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a start from what is no run",
        2,
        "not a training run (no settings.yaml); make one with `python -m train`",
        lambda e: ("train", "--from", e.tmp, "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a start from other networks",
        2,
        "network of the preset differs from that of",
        lambda e: training(e, "--from", e.run, network=SETTINGS.network.model_dump(mode="json") | {"channels": 32}),
    ),
    Row(
        "a refit of a refit",
        2,
        "name that run",
        lambda e: (
            "train",
            *("--refit", refitted(e, joint=retrieval()).run, "--data", e.data, "--out", e.tmp / "out"),
        ),
    ),
    Row(
        "a refit without its Q",
        2,
        "it has no identifiability.npz, the Q of its crops, which a refit keeps",
        lambda e: ("train", "--refit", e.run, "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row(
        "a refit on other data",
        2,
        "a refit needs the same, held-out people included: give its --data",
        lambda e: (
            "train",
            *("--refit", other_people(e, refits=None, joint=retrieval()).run, "--data", e.data, "--out", e.tmp / "out"),
        ),
    ),
    Row(
        "a stage that a refit keeps",
        2,
        "a refit keeps the iqa stage of",
        lambda e: ("train", "--refit", e.run, "--stage", "iqa", "--data", e.data, "--out", e.tmp / "out"),
    ),
    Row("float16 without a GPU", 2, "precision float16: expected a GPU", lambda e: training(e, precision="float16")),
    Row(
        "two people",
        2,
        "the train split has 3 identities; training needs at least 4",
        lambda e: training(without(e, *e.data.glob("*/000[123]*"))),
    ),
    Row(
        "people of whom nothing is known",
        2,
        "or train on appearance alone: --without-attributes",
        lambda e: training(without(e, e.data / "attributes.csv")),
    ),
    Row("an image that is none", 2, "_00.jpg: the image is", lambda e: training(e)),
    Row(
        "a stage that there is not",
        2,
        "without attributes there is no stage apan; expected another --stage, or none",
        lambda e: training(e, "--without-attributes", "--stage", "apan"),
    ),
    Row(
        "a folder that holds a run",
        2,
        "holds a run already; go on with --resume, or choose another --out",
        lambda e: training(e, out=e.run),
    ),
    Row(
        "going on by other settings",
        2,
        "the run was started with other settings (learning_rate)",
        lambda e: training(e, "--resume", out=e.run, learning_rate=0.5),
    ),
    Row(
        "going on with other data",
        2,
        "the run was started on other data: other pictures, labels or attributes",
        lambda e: training(other_people(e), "--resume", out=e.run),
    ),
    Row(
        "a stage before the one that it needs",
        2,
        "no such checkpoint; train it with `python -m train --stage iqa",
        lambda e: training(e, "--stage", "joint"),
    ),
    Row(
        "a stage after one that did not end",
        2,
        "the iqa stage stopped after 2 epochs; finish it with",
        lambda e: training(changed(e, "iqa", complete=False), "--stage", "weighting", out=e.run),
    ),
    Row(
        "a damaged checkpoint",
        2,
        "damaged or not a checkpoint",
        lambda e: training(e, "--stage", "weighting", out=written(e.run / "iqa.pt", "x").parent),
    ),
    Row(
        "a checkpoint of another version",
        2,
        "not a checkpoint of format 3; it was written by another version",
        lambda e: training(changed(e, "iqa", format=1), "--stage", "weighting", out=e.run),
    ),
    Row(
        "a checkpoint that lacks a network",
        2,
        "the iqa checkpoint has no network 'iqa'",
        lambda e: exporting(changed(e, "iqa", networks={})),
    ),
    Row(
        "a checkpoint of other networks",
        2,
        "the iqa checkpoint does not fit the iqa network of these settings",
        lambda e: exporting(changed(e, "iqa", networks={"iqa": {}})),
    ),
    Row(
        "going on with other people's checkpoint",
        2,
        "identities that are not the",
        lambda e: training(changed(e, "iqa", complete=False, pids=(7,)), "--resume", out=e.run),
    ),
    Row(
        "going on with another version's checkpoint",
        2,
        "another version left it amid the stage",
        lambda e: another_version(e),
    ),
    Row(
        "a quality network of another version",
        2,
        "another version taught this quality network; teach it again: --stage quality",
        lambda e: exporting(taught(e, {"quality": {}})),
    ),
    Row(
        "weights that are no weights",
        2,
        "cannot be read as a ResNet state dictionary",
        lambda e: training(e, "--weights", written(e.tmp / "x.pt", "x")),
    ),
    Row(
        "weights that are a list",
        2,
        "expected a dictionary of tensors by name, got another content",
        lambda e: training(e, "--weights", stored(e, [1])),
    ),
    Row(
        "weights of another network",
        2,
        "the weights do not fit the network of these settings",
        lambda e: training(e, "--weights", stored(e, {"conv1.weight": torch.zeros(1)})),
    ),
    Row(
        "weights of another stage",
        2,
        "expected the iqa.pt of a run that finished this stage",
        lambda e: training(e, "--weights", e.run / "joint.pt"),
    ),
    Row(
        "weights from a network that is not there", 2, "the ImageNet weights cannot be downloaded", lambda e: offline(e)
    ),
    # --- python -m export
    Row("exporting what is no run", 2, "not a training run (no settings.yaml)", lambda e: ("export", e.tmp)),
    Row("an unknown precision", 2, "precision 'int4': expected one of", lambda e: exporting(e, "--precision", "int4")),
    Row(
        "a precision of an unknown model",
        2,
        "expected MODEL=PRECISION after the default, with a model of apn",
        lambda e: exporting(e, "--precision", "fp32,apm=int8"),
    ),
    Row(
        "a precision that fusion does not have",
        2,
        "fusion hands its inputs on unchanged and stays in fp32",
        lambda e: exporting(e, "--precision", "fp32,fusion=int8"),
    ),
    Row(
        "the best epoch of a refit",
        2,
        "nothing is validated in a refit, so no epoch is the best; leave --best away",
        lambda e: exporting(refitted(e), "--best"),
    ),
    Row(
        "a repository that is none",
        2,
        "is there and no exported model repository; choose another --repository",
        lambda e: exporting(e, *("--repository", written(e.tmp / "mine" / "file", "x").parent)),
    ),
    Row(
        "the template for a repository",
        2,
        "is the template itself; choose another --repository",
        lambda e: exporting(e, "--repository", TEMPLATE),
    ),
    Row(
        "reduced precision on other data",
        2,
        "name that with --data",
        lambda e: exporting(other_people(e), "--data", e.data, "--precision", "fp16"),
    ),
    Row(
        "a run of a newer version",
        2,
        "a newer version made the run; use that version",
        lambda e: exporting(newer(e), "--data", e.data),
    ),
    Row(
        "reduced precision of a run that does not say where its data is",
        2,
        "does not say where the training data is; name it with --data",
        lambda e: exporting(nowhere(e), "--precision", "fp16"),
    ),
    Row(
        "reduced precision of people whom one camera saw",
        2,
        "so export in fp32 or train on more cameras",
        lambda e: exporting(one_camera(e), "--precision", "fp16", "--data", e.data),
    ),
    Row(
        "a run whose α is damaged",
        2,
        "fit it again: --stage weighting",
        lambda e: exporting(replace_file(e, "weighting.npz")),
    ),
    Row(
        "a run whose utility is damaged",
        2,
        "teach it again: --stage weighting",
        lambda e: exporting(replace_file(e, "utility.npz")),
    ),
    Row(
        "a run whose diagnosis is damaged",
        2,
        "diagnosis.json: ",
        lambda e: exporting(replace_file(e, "diagnosis.json")),
    ),
    # --- python -m server
    Row(
        "no repository",
        2,
        "there is no model repository at",
        lambda e: ("server", "--repository", e.tmp / "no"),
    ),
    Row(
        "a port that is none",
        2,
        "expected a port from 0 to 65535, got 99999",
        lambda e: serving(e, "--grpc-port", 99999),
    ),
    Row(
        "one port for two",
        3,
        "expected a port of its own for each endpoint",
        lambda e: serving(e, "--grpc-port", 8017, "--http-port", 8017),
    ),
    Row("a port of another one", 3, "stop what listens there, or choose another port", lambda e: in_use(e)),
    Row("a host that is not there", 3, "cannot be found", lambda e: serving(e, "--host", "no.such.host.invalid")),
    Row(
        "a repository without models",
        3,
        "expected folders with a config.pbtxt",
        lambda e: serving(e, folder=e.tmp),
    ),
    Row("a path with a space", 3, "has a space", lambda e: serving(e, folder=repository(e, "two words"))),
    Row(
        "a variant that there is not",
        3,
        "known names: none",
        lambda e: serving(e, "--config-name", "tensorrt"),
    ),
    Row(
        "a manifest that cannot be read",
        3,
        "cannot be read",
        lambda e: serving(e, folder=manifest(e, "{")),
    ),
    Row(
        "a graph that is missing",
        3,
        "What is served must be what was exported",
        lambda e: serving(
            e, folder=manifest(e, '{"format": 2, "fingerprints": {}, "graphs": {"apn": {"sha256": "1"}}}')
        ),
    ),
    Row(
        "a log in a folder that is not there",
        3,
        "cannot be written",
        lambda e: serving(e, "--log", e.tmp / "no" / "log"),
    ),
    Row(
        "no Triton server",
        3,
        "does not exist; run `make setup`",
        lambda e: no_triton(e, e.tmp / "no"),
    ),
    Row(
        "a Triton server whose Python does not run",
        3,
        "does not run: broken; run `make setup`",
        lambda e: no_triton(e, program(e.tmp / "triton/bin/python", "echo broken >&2; exit 1").parents[1]),
    ),
    Row(
        "half a Triton server",
        3,
        "no complete Triton server found",
        lambda e: no_triton(e, half_a_triton(e.tmp / "triton")),
    ),
    Row(
        "a Triton server in a path with a space",
        3,
        "of the server's environment has a space",
        lambda e: no_triton(e, half_a_triton(e.tmp / "two words")),
    ),
]
ELSEWHERE = {
    "fidelity.py: the reduced precision": "tests/export/test_precision.py",
    "heatmaps.py: ": "tests/export/test_heatmaps.py",
    "openvino.py: ": "tests/export/test_openvino.py",
    "parity.py: the exported graphs": "tests/export/test_export.py",
    "pipelines.py: ": "of a GPU, which bench.gpu_check uses",
    "export/repository.py: precision of ": "the library's; the command loads samples",
    "integrity.py: it is not written": "tests/server/test_integrity.py",
    "plans.py: ": "tests/server/test_plans.py",
    "server/repository.py: server: ": "what server.plans says: tests/server/test_plans.py",
    "server/repository.py: : cannot be read: ": "tests/server/test_integrity.py, of files that nobody may read",
    "triton_server.py: ": "what Triton itself says: tests/triton",
    "recipe.py: world": "typer says before which worlds there are",
    "batches.py: ": "tests/train/test_processes.py, of several processes",
    "train/files.py: : cannot be written": "tests/train/test_pipeline.py, of a full disk",
    "loop.py: the  stage": "tests/train/test_pipeline.py, of losses that are no numbers",
}


def retrieval() -> dict[str, Any]:
    return SETTINGS.joint.model_dump() | {"fc": "principal", "weighting": "retrieval", "q_crops": None}


def another_version(env: Env) -> tuple[Any, ...]:
    """A stage of today's networks, in the middle, whose optimiser had other parameters."""
    data = load_training_data(env.data, 0)
    stage = IQAStage(SETTINGS, launch(), len(data.pids))
    states = {name: network.state_dict() for name, network in stage.networks.items()}
    optimizers = {name: {"state": {}, "param_groups": []} for name in stage.optimizers}
    changed(env, "iqa", complete=False, epoch=1, pids=data.pids, networks=states, optimizers=optimizers)
    return training(env, "--resume", out=env.run)


def newer(env: Env) -> Env:
    path = env.run / "data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}))
    return env


def other_people(env: Env, **settings: Any) -> Env:
    """Whom the run was not trained on."""
    if settings:
        save_settings(Settings.model_validate(SETTINGS.model_dump() | settings), env.run / "settings.yaml")
    written(env.data / "bounding_box_train/0007_c1s1_000001_00.jpg", "")
    with (env.data / "attributes.csv").open("a") as file:
        file.write("7,no\n")
    return env


def nowhere(env: Env) -> Env:
    path = env.run / "data.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "folder"}))
    return env


def one_camera(env: Env) -> Env:
    without(env, *env.data.glob("*/*_c2s1_*"))
    (env.run / "data.json").write_text(json.dumps(load_training_data(env.data, 0).description()))
    return env


def replace_file(env: Env, name: str) -> Env:
    written(env.run / name, "x")
    return env


def offline(env: Env) -> tuple[Any, ...]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    env.monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    env.monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    return training(env, "--weights", "imagenet", network={})


def in_use(env: Env) -> tuple[Any, ...]:
    def refuse(*_: Any) -> None:
        raise OSError(98, "Address already in use")

    env.monkeypatch.setattr("socket.socket.bind", refuse)
    return serving(env, "--grpc-port", 1)


def half_a_triton(folder: Path) -> Path:
    facts = json.dumps({"version": "3.11", "site_packages": str(folder), "libraries": ""})
    return program(folder / "bin/python", f"echo '{facts}'").parents[1]


@pytest.fixture(autouse=True)
def places(monkeypatch):
    PLACES.watch(monkeypatch)


def run(words: tuple[Any, ...], capfd) -> tuple[int, str]:
    """A command in this process: its code, and all that it said."""
    name, *arguments = map(str, words)
    if name == "server":
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = serve(arguments)
        except SystemExit as ended:
            code = ended.code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return code, capfd.readouterr().err
    app = synthetic
    if name in ("train", "export"):
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()({"train": train, "export": export}[name])
    ended = CliRunner().invoke(app, arguments)
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.output


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.done)
def test_an_error_says_what_to_do_and_the_code_tells_its_kind(row, env, capfd):
    code, said = run(row.words(env), capfd)
    assert row.said in " ".join(said.split()) and code == row.code, (code, said)
    assert "Traceback" not in said


def test_the_table_has_every_error_that_the_commands_make():
    """Runs after the rows: they say what they have seen."""
    if len(PLACES.seen) < len(ROWS) // 2:
        pytest.skip("the rows did not run")
    left_out = list(PLACES.unseen(ELSEWHERE))
    assert not left_out, "\n".join(left_out)
