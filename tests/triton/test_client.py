"""The client against the real server: an evaluation end to end, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from client import ReidClient
from qafm.attributes import SCHEMA
from qafm.datasets.crops import without_junk
from qafm.datasets.market1501 import list_split
from qafm.errors import InvalidImage
from qafm.retrieval.descriptors import read_descriptors
from synthetic import Recipe, make_dataset

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    recipe = Recipe(
        train_identities=2,
        test_identities=2,
        images_per_identity=2,
        cameras_per_identity=2,
        distractors=1,
        junk=1,
        degraded=0,
    )
    make_dataset(recipe, root)
    return root


def run(*arguments):
    """The command as a process: (exit code, standard output, standard error)."""
    command = [sys.executable, "-m", "client", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def evaluation(triton_server, dataset, tmp_path_factory):
    """Exit code, errors and folder of an evaluation with one truncated gallery image."""
    data = tmp_path_factory.mktemp("damaged") / "data"
    shutil.copytree(dataset, data)
    damaged = without_junk(list_split(data, "gallery"))[-1].path
    damaged.write_bytes(damaged.read_bytes()[:400])
    report = tmp_path_factory.mktemp("evaluation") / "report"
    code, output, errors = run(
        *("eval", "--split", "query", "--sweep-alpha", "--data", data),
        *("--url", triton_server.grpc_url, "--report", report),
    )
    return code, output, errors, report, f"bounding_box_test/{damaged.name}"


def test_an_evaluation_with_a_damaged_image(evaluation, dataset):
    code, output, errors, folder, damaged = evaluation
    assert code == 1
    assert damaged in errors
    assert "mAP" in output
    report = json.loads((folder / "report.json").read_text())
    (failed,) = report["failed_images"]
    assert failed["path"] == damaged
    assert failed["reason"].startswith("the image is damaged")
    queries = len(list_split(dataset, "query"))
    gallery = len(without_junk(list_split(dataset, "gallery")))
    assert (report["queries"], report["gallery"]) == (queries, gallery - 1)
    assert 0 < report["baseline"]["mAP"] <= 1
    assert report["manifest"]["graphs"].keys() == {"apn", "apan", "iqa", "quality", "fusion"}
    assert "Market-1501 single-query" in report["protocol"]
    assert report["timings"]["images_per_second"] > 0
    for name in ("rank1", "mAP"):
        low, high = report["intervals"][name]
        assert low <= report[name] <= high
    assert damaged in (folder / "report.html").read_text()


def test_the_descriptors_of_an_evaluation(evaluation, dataset):
    *_, folder, damaged = evaluation
    gallery = read_descriptors(folder / "gallery.npz")
    crops = [crop for crop in without_junk(list_split(dataset, "gallery")) if crop.path.name not in damaged]
    assert gallery.paths.tolist() == [f"bounding_box_test/{crop.path.name}" for crop in crops]
    assert gallery.pids.tolist() == [crop.pid for crop in crops]
    assert gallery.camids.tolist() == [crop.camid for crop in crops]
    np.testing.assert_allclose(np.linalg.norm(gallery.descriptors, axis=1), 1, rtol=1e-5)
    assert set(gallery.arrays()) == {
        *("descriptors", "pids", "camids", "paths"),
        *("alpha", "identifiability", "scatter", "utility", "visual", "semantic", "attributes"),
    }
    assert -1 not in gallery.pids and 0 in gallery.pids


def test_the_sweep_of_alpha(evaluation):
    _, output, _, folder, _ = evaluation
    report = json.loads((folder / "report.json").read_text())
    table = {row["name"]: row for row in report["ablation"]["table4"]}
    assert len(table) == 1 + 4 + 9
    assert table["QAFM"]["mAP"] == report["mAP"] and table["QAFM"]["alpha"] is None
    assert (table["fixed α = 0.3"]["alpha"], table["fixed α = 0.3"]["paper_alpha"]) == (0.3, 0.7)
    assert all(0 <= row[name] <= 1 for row in table.values() for name in ("rank1", "rank5", "mAP"))
    assert all(name in output for name in table)
    for name, row in table.items():
        assert row["difference"].keys() == (set() if name == "QAFM" else {"rank1", "mAP"})
        if name != "QAFM":
            assert row["difference"]["mAP"]["value"] == pytest.approx(row["mAP"] - report["mAP"])
    # Nothing is degraded in this dataset: one level, which is every query, and no correlation to speak of.
    degradation = report["ablation"]["degradation"]
    assert degradation["queries"] == {"none": report["queries"]}
    assert degradation["mAP"]["QAFM"]["none"] == pytest.approx(report["mAP"])
    assert degradation["q_strength_r"] is None
    with (folder / "images.csv").open(newline="") as file:
        images = list(csv.DictReader(file))
    sides = [read_descriptors(folder / f"{side}.npz") for side in ("query", "gallery")]
    assert [image["path"] for image in images] == [path for side in sides for path in side.paths.tolist()]
    alpha = np.concatenate([side.alpha for side in sides])
    np.testing.assert_allclose([float(image["alpha"]) for image in images], alpha, rtol=1e-5)
    assert {(image["kind"], image["strength"]) for image in images} == {("none", "0.0")}
    precision = [float(image["ap"]) for image in images if image["ap"]]
    assert len(precision) == report["queries"] - report["skipped_queries"]
    assert np.mean(precision) == pytest.approx(report["mAP"], rel=1e-5)


def test_the_accuracy_of_the_attributes(evaluation):
    *_, folder, _ = evaluation
    report = json.loads((folder / "report.json").read_text())
    assert report["attributes"].keys() == {attribute.name for attribute in SCHEMA}
    annotated = report["queries"] + int((read_descriptors(folder / "gallery.npz").pids > 0).sum())
    assert report["attributes"]["gender"]["images"] == annotated
    for head in report["attributes"].values():
        assert 0 <= head["accuracy"] <= 1 and 0 < head["majority"] <= 1
        low, high = head["balanced_accuracy_interval"]
        assert 0 <= low <= head["balanced_accuracy"] <= high <= 1 and (head["auc"] is None or 0 <= head["auc"] <= 1)


def test_fusing_again_is_what_the_fixed_ensemble_answers(triton_server, dataset):
    images = [crop.path for crop in list_split(dataset, "query")]

    async def work():
        async with ReidClient(triton_server.grpc_url) as client:
            fixed = [await client.describe(image, alpha=0.3) for image in images]
            visual, semantic = (np.stack([getattr(one, name) for one in fixed]) for name in ("visual", "semantic"))
            return fixed, await client.fuse(visual, semantic, np.full(len(images), 0.3, np.float32))

    fixed, fused = asyncio.run(work())
    np.testing.assert_allclose(fused, [one.descriptor for one in fixed], atol=1e-6)


def test_score_gives_the_metrics_of_the_evaluation(evaluation, tmp_path):
    *_, folder, _ = evaluation
    code, _, _ = run("score", folder / "query.npz", folder / "gallery.npz", "--json", tmp_path / "score.json")
    assert code == 0
    report = json.loads((folder / "report.json").read_text())
    score = json.loads((tmp_path / "score.json").read_text())
    del score["format"]  # each file has its own
    # What was recorded of the images is in no descriptor file.
    del report["discard"]["recorded strength"]
    assert score == {name: report.get(name) for name in score}


def test_a_limited_evaluation_has_the_whole_gallery(triton_server, dataset, tmp_path):
    code, _, errors = run(
        *("eval", "--data", dataset, "--url", triton_server.grpc_url, "--report", tmp_path, "--limit", "1")
    )
    assert code == 0, errors
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["queries"] == 1
    assert report["gallery"] == len(without_junk(list_split(dataset, "gallery")))
    assert report["failed_images"] == []
    first = read_descriptors(tmp_path / "query.npz").paths.tolist()
    assert first == [f"query/{list_split(dataset, 'query')[0].path.name}"]


def test_the_http_port_is_not_mistaken_for_the_grpc_port(triton_server, dataset):
    image = list_split(dataset, "query")[0].path
    code, _, errors = run("describe", image, "--url", triton_server.http_url, "--connect-timeout", "1")
    assert code in (2, 3)
    assert len(errors.strip().splitlines()) == 1


def test_describing_by_library(triton_server, dataset):
    good = list_split(dataset, "query")[0].path

    async def work():
        async with ReidClient(triton_server.grpc_url) as client:
            several = client.describe_many([good, b"text", good.read_bytes()], return_errors=True)
            return [result async for _, result in several], await client.describe(good, alpha=0.5)

    (first, failed, again), fixed = asyncio.run(work())
    assert isinstance(failed, InvalidImage)
    assert str(failed).startswith("the 4 bytes are not a JPEG, PNG, WebP or BMP image")
    np.testing.assert_array_equal(first.descriptor, again.descriptor)
    np.testing.assert_array_equal(first.visual, fixed.visual)
    assert (fixed.alpha, fixed.identifiability) == (0.5, None)
    assert 0 < first.alpha < 1 and first.identifiability > 0
    assert str(first.attributes["gender"]).split(":")[0] == "gender"
