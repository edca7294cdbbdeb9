"""The three ensembles, asked by the commands and by the library: what is refused, what is kept, and what is said."""

from __future__ import annotations

import asyncio
import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import ReidClient
from client.ensembles import ensemble_for
from client.evaluate import evaluate_dataset
from client.gallery.files import GalleryImages
from client.gallery.search import describe_gallery
from client.progress import quiet
from qafm.contract import FUSION, MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA, SCATTER
from qafm.datasets.crops import Crop
from qafm.errors import ContractMismatch, InvalidSettings
from qafm.retrieval.descriptors import Descriptors, read_descriptors, write_descriptors
from qafm.weighting import save_weighting
from qafm.weighting.constant import Constant
from qafm.weighting.retrieval import Retrieval
from tests.support.pictures import PICTURES
from tests.support.served import with_attributes

FINGERPRINTS = {QAFM: "aaaa-bbbb", QAFM_FIXED_ALPHA: "cccc-dddd"}
FAST = {QAFM_FAST: "eeee-ffff"}
FIXED = ("--model", "qafm_fixed_alpha", "--alpha", "0.25")


def manifest_of(fingerprints):
    return json.dumps({"format": 2, "fingerprints": fingerprints})


@pytest.fixture(autouse=True)
def named(peer, monkeypatch):
    """The files of these tests are no pictures: the baseline cannot read them."""
    peer.manifest = manifest_of(FINGERPRINTS)
    monkeypatch.setattr("client.evaluate.describe_by_colour", lambda root, images, step: images)


@pytest.fixture
def fast(peer):
    """The peer, once more with the optional ensemble."""
    peer.models[QAFM_FAST] = with_attributes(QAFM_FAST)
    peer.manifest = manifest_of(FINGERPRINTS | FAST)
    return peer


@pytest.fixture
def commands(dataset, tmp_path):
    """The arguments of each command that describes, but for the server and the model."""
    return {
        "eval": ("eval", "--data", dataset, "--report", tmp_path / "report"),
        "describe": ("describe", dataset / "query/0001_c1s1_000001_00.jpg"),
        "search": ("search", dataset / "query/0001_c1s1_000001_00.jpg", "--gallery", dataset / "bounding_box_test"),
    }


async def evaluated(peer, dataset, folder, alpha=None, **options):
    async with ReidClient(peer.url) as client:
        return await evaluate_dataset(client, dataset, folder, alpha, **options)


def read(folder):
    return json.loads((folder / "report.json").read_text())


# --- wrong usage
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["eval", "describe", "search"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "qafm_fixed_alpha"), "qafm_fixed_alpha takes its weight from you; add --alpha"),
        (("--alpha", "0.5"), "qafm weighs by quality; expected --model qafm_fixed_alpha, or no --alpha"),
        (("--model", "qafm_fast", "--alpha", "0.5"), "qafm_fast weighs by quality"),
        (("--model", "qafm_fixed_alpha", "--alpha", "1.5"), "expected a weight from 0 to 1, got 1.5"),
        (("--model", "qafm_fixed_alpha", "--alpha", "nan"), "expected a weight from 0 to 1, got nan"),
        (("--model", "iqa"), "qafm_fast"),
    ],
)
def test_a_model_and_a_weight_that_do_not_fit_are_said_before_any_server_is_asked(
    client, commands, closed_url, command, options, message
):
    code, output, errors = client(*commands[command], "--url", closed_url, *options)
    assert code == 2 and not output and message in errors


@pytest.mark.parametrize(
    ("options", "named"), [(("--abstain", "0.1"), "--abstain"), (("--weighting", "half.npz"), "--weighting")]
)
def test_what_reads_quality_is_refused_where_there_is_none(
    client, commands, peer, closed_url, dataset, tmp_path, monkeypatch, options, named
):
    monkeypatch.chdir(tmp_path)
    save_weighting(tmp_path / "half.npz", Constant(np.array(0.5)))
    code, _, errors = client(*commands["eval"], "--url", closed_url, *FIXED, *options)
    assert code == 2 and f"qafm_fixed_alpha computes no quality of an image, which {named} would read" in errors
    given = {"abstaining": 0.1} if named == "--abstain" else {"weightings": {"half": Constant(np.array(0.5))}}
    with pytest.raises(InvalidSettings, match="computes no quality"):
        asyncio.run(evaluated(peer, dataset, tmp_path / "report", 0.25, **given))
    assert peer.requests == [] and not (tmp_path / "report").exists()


def test_a_weighting_that_reads_scatter_is_held_against_the_ensemble_that_is_asked(fast, dataset, tmp_path):
    """Of the two, only `qafm` has it here."""
    whole = fast.models[QAFM]
    fast.models[QAFM] = replace(whole, outputs=(*whole.outputs, SCATTER))
    rule = {"rule": Retrieval(np.zeros(40), np.ones(40), np.eye(40)[3], np.zeros(()))}
    with pytest.raises(InvalidSettings, match="reads SCATTER, which this server does not give"):
        asyncio.run(evaluated(fast, dataset, tmp_path / "report", ensemble=QAFM_FAST, weightings=rule))
    assert fast.requests == [] and not (tmp_path / "report").exists()


def test_alpha_means_the_ensemble_that_takes_it():
    assert ensemble_for(0.0, QAFM) == ensemble_for(1.0, QAFM_FIXED_ALPHA) == QAFM_FIXED_ALPHA
    assert (ensemble_for(None, QAFM), ensemble_for(None, QAFM_FAST)) == (QAFM, QAFM_FAST)
    with pytest.raises(ValueError, match="takes its weight from the caller"):
        ensemble_for(None, QAFM_FIXED_ALPHA)
    with pytest.raises(ValueError, match="expected a weight from 0 to 1"):
        ensemble_for(float("nan"), QAFM)


# --- a server without qafm_fast
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["eval", "describe", "search"])
def test_an_ensemble_that_is_not_served_is_said_before_anything_is_sent(client, commands, peer, tmp_path, command):
    code, output, errors = client(*commands[command], "--url", peer.url, "--model", "qafm_fast")
    assert code == 2 and not output
    assert "does not serve 'qafm_fast'; it serves qafm, qafm_fixed_alpha" in errors
    assert peer.requests == [] and not (tmp_path / "report").exists()


def test_a_report_of_another_model_stays_where_the_ensemble_is_not_served(client, commands, peer, tmp_path):
    assert client(*commands["eval"], "--url", peer.url)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    peer.requests.clear()
    code, _, errors = client(*commands["eval"], "--url", peer.url, "--model", "qafm_fast")
    assert code == 2 and "does not serve 'qafm_fast'" in errors
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before
    assert peer.requests == []


def test_not_even_an_image_is_read_for_an_ensemble_that_is_not_served(peer, tmp_path):
    async def work():
        async with ReidClient(peer.url) as client:
            with pytest.raises(ContractMismatch, match="does not serve 'qafm_fast'"):
                await client.describe(tmp_path / "absent.jpg", ensemble=QAFM_FAST)
            images = GalleryImages((Crop(tmp_path / "absent.jpg", -1, 0),))
            with pytest.raises(ContractMismatch, match="does not serve 'qafm_fast'"):
                await describe_gallery(client, images, ensemble=QAFM_FAST, concurrency=1, progress=quiet, failed=print)

    asyncio.run(work())


# --- evaluations
# ------------------------------------------------------------------------------------------------


def test_an_evaluation_of_the_fast_ensemble_says_so_wherever_it_is_kept(client, commands, fast, tmp_path):
    code, output, _ = client(*commands["eval"], "--url", fast.url, "--model", "qafm_fast", "--abstain", "0.5")
    assert code == 0 and "Model: eeee-ffff/qafm_fast." in output
    assert set(fast.requests) == {QAFM_FAST} and len(fast.requests) == len(PICTURES)
    report = read(tmp_path / "report")
    assert (report["model"], report["ensemble"], report["alpha"]) == ("eeee-ffff/qafm_fast", QAFM_FAST, None)
    assert report["rank1"] == 1 and "identifiability" in report["discard"] and "abstained" in report
    page = (tmp_path / "report/report.html").read_text()
    assert "quality by one learnt network" in page and "The poorest pictures" in page
    for side in ("query", "gallery"):
        assert read_descriptors(tmp_path / f"report/{side}.npz").model == "eeee-ffff/qafm_fast"


def test_an_evaluation_with_alpha_given_has_that_weight_and_no_quality(client, commands, peer, tmp_path):
    code, output, _ = client(*commands["eval"], "--url", peer.url, *FIXED)
    assert code == 0 and "without the queries of the worst quality" not in output
    assert set(peer.requests) == {QAFM_FIXED_ALPHA}
    name = "cccc-dddd/qafm_fixed_alpha@0.25"
    report = read(tmp_path / "report")
    assert (report["model"], report["ensemble"], report["alpha"]) == (name, QAFM_FIXED_ALPHA, 0.25)
    assert report["rank1"] == 1 and "discard" not in report
    page = (tmp_path / "report/report.html").read_text()
    assert f"<h1>{name} on" in page and "α = 0.25 for every image, no quality" in page
    assert "Cumulative matching" in page and "poorest pictures" not in page and "Histogram of" not in page
    for side in ("query", "gallery"):
        kept = read_descriptors(tmp_path / f"report/{side}.npz")
        assert kept.model == name and kept.alpha.tolist() == [0.25] * len(kept)
        assert kept.identifiability is None and kept.scatter is None and kept.utility is None
    assert not list((tmp_path / "report").glob("*.journal"))


def test_an_interrupted_evaluation_goes_on_with_the_same_weight_alone(client, commands, fast, dataset, tmp_path):
    broken = dataset / "bounding_box_test/0002_c2s1_000001_00.jpg"
    broken.write_bytes(b"broken.")
    count = len(PICTURES)

    def sent(*model):
        fast.requests.clear()
        _, _, errors = client(*commands["eval"], "--url", fast.url, *model)
        return len(fast.requests), errors

    other = ("--model", "qafm_fixed_alpha", "--alpha", "0.5")
    assert sent(*FIXED)[0] == count
    assert sent(*FIXED)[0] == 1, "only what failed"
    for model in (other, ("--model", "qafm_fast"), ()):
        asked, errors = sent(*model)
        assert asked == count, "nothing of another model is taken over"
        assert "descriptions-cccc-dddd-qafm_fixed_alpha-0.25.journal: was left by another model" in errors
    assert sent(*FIXED)[0] == 1
    assert read(tmp_path / "report")["model"] == "cccc-dddd/qafm_fixed_alpha@0.25"
    alpha = read_descriptors(tmp_path / "report/gallery.npz").alpha
    assert alpha.tolist() == [0.25] * len(alpha)


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, ("QAFM", None, None)),
        ({"ensemble": QAFM_FAST}, ("qafm_fast", None, None)),
        ({"alpha": 0.25}, ("qafm_fixed_alpha", 0.25, 0.75)),
    ],
)
def test_the_sweep_works_with_each_and_its_first_row_says_what_was_served(fast, dataset, tmp_path, options, first):
    fast.models[FUSION] = MODELS[FUSION]
    images = {name: {"kind": "blur", "strength": number / 10} for number, name in enumerate(PICTURES)}
    (dataset / "degradations.json").write_text(json.dumps({"images": images}))
    report = asyncio.run(evaluated(fast, dataset, tmp_path, sweep_alpha=True, **options))
    ablation = read(tmp_path)["ablation"]
    served, *_ = ablation["table4"]
    assert (served["name"], served["alpha"], served["paper_alpha"]) == first and len(ablation["table4"]) == 14
    assert served["mAP"] == report.metrics.mAP and first[0] in ablation["degradation"]["mAP"]
    assert ablation["q_alpha_r"] is None and ablation["degradation"]["q_strength_r"] is None
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    score, alpha = ("", "0.25") if "alpha" in options else ("0.75", "0.75")
    assert {(row["identifiability"], row["alpha"]) for row in rows} == {(score, alpha)}
    if first[1]:
        page = (tmp_path / "report.html").read_text()
        assert '<th>qafm_fixed_alpha<td class="n">0.25<td class="n">0.75' in page, "not rounded to a tenth"


def test_the_fast_ensemble_weighs_anew_by_its_estimates_and_says_so(client, commands, fast, tmp_path):
    fast.models[FUSION] = MODELS[FUSION]
    save_weighting(tmp_path / "half.npz", Constant(np.array(0.5)))
    asked = ("--weighting", tmp_path / "half.npz", "--url", fast.url)
    code, output, errors = client(*commands["eval"], *asked, "--model", "qafm_fast")
    assert code == 0 and "weighting " in output
    assert "the weightings read what qafm_fast estimates of Q and SCATTER" in errors
    assert "estimates" not in client(*commands["eval"], *asked)[2]


def test_what_was_not_asked_may_change_while_vectors_are_fused(fast):
    fast.models[FUSION] = MODELS[FUSION]

    async def work():
        async with ReidClient(fast.url) as client:
            found = await client.describe(b"1", ensemble=QAFM_FAST)
            await client.fuse(found.visual[None], found.semantic[None], np.ones(1, np.float32))
            fast.manifest = manifest_of(FINGERPRINTS | FAST | {QAFM: "zzzz-zzzz"})
            await client.confirm_model()

    asyncio.run(work())


# --- describe and search
# ------------------------------------------------------------------------------------------------


def test_describe_prints_what_the_ensemble_gives(client, commands, fast):
    code, output, _ = client(*commands["describe"], "--url", fast.url, "--model", "qafm_fast", "--json", "-")
    assert code == 0 and json.loads(output)["identifiability"] == 0.75
    code, output, errors = client(*commands["describe"], "--url", fast.url, *FIXED)
    assert (code, errors) == (0, "")
    assert "\n  alpha: 0.250\n" in output and "gender: female 0.75" in output
    found = json.loads(client(*commands["describe"], "--url", fast.url, *FIXED, "--json", "-")[1])
    assert (found["alpha"], found["identifiability"], found["complaint"]) == (0.25, None, None)
    assert found["model"] == "cccc-dddd/qafm_fixed_alpha@0.25"
    assert fast.requests == [QAFM_FAST, QAFM_FIXED_ALPHA, QAFM_FIXED_ALPHA]


@pytest.mark.parametrize(
    ("options", "model"),
    [(("--model", "qafm_fast"), "eeee-ffff/qafm_fast"), (FIXED, "cccc-dddd/qafm_fixed_alpha@0.25")],
)
def test_a_folder_is_searched_by_one_ensemble(client, commands, fast, tmp_path, options, model):
    found = tmp_path / "found.json"
    code, _, _ = client(*commands["search"], "--url", fast.url, *options, "--json", found)
    assert code == 0 and json.loads(found.read_text())["model"] == model
    assert set(fast.requests) == {options[1]}
    assert Path(json.loads(found.read_text())["found"][0]["path"]).name == "0001_c2s1_000001_00.jpg"


@pytest.mark.parametrize(
    ("kept", "hint"),
    [
        ("eeee-ffff/qafm_fast", "--model qafm_fast"),
        ("cccc-dddd/qafm_fixed_alpha@0.25", "--model qafm_fixed_alpha --alpha 0.25"),
        ("heron/qafm_fast", None),
        ("another program's", None),
    ],
)
def test_a_kept_gallery_of_another_model_is_refused_before_the_image_is_sent(
    client, commands, fast, tmp_path, kept, hint
):
    ids, descriptors = np.array([1]), np.eye(1, 1000, 1, dtype=np.float32)
    gallery = tmp_path / "gallery.npz"
    write_descriptors(gallery, Descriptors(descriptors, ids, ids, np.array(["a.jpg"]), model=kept))
    asked = (*commands["search"][:2], "--gallery", gallery, "--url", fast.url)
    code, output, errors = client(*asked)
    assert code == 2 and not output and fast.requests == []
    assert f"described by the model aaaa-bbbb/qafm, the gallery by {kept}" in errors
    if hint is None:
        assert "--model" not in errors
    else:
        assert f"the server has the gallery's, by {hint}" in errors
        assert client(*asked, *hint.split())[0] == 0
