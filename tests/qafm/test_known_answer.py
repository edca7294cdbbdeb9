from __future__ import annotations

import numpy as np
import pytest

from qafm.contract import MODELS
from qafm.drawn_picture import drawn_picture
from qafm.images import decode
from qafm.known_answer import KEPT, KNOWN_ANSWER, differences, encoded_picture, ensembles_known, known_answer
from qafm.manifest import Manifest


def answer(seed=0):
    values = np.random.default_rng(seed).normal(size=(1, 1000)).astype(np.float32)
    return {
        "DESCRIPTOR": values / np.linalg.norm(values),
        "ALPHA": np.array([[0.75]], np.float32),
        "IDENTIFIABILITY": np.array([[2.5]], np.float32),
        "VISUAL": np.zeros((1, 1024), np.float32),
    }


def manifest(**precisions):
    graphs = {name: {"precision": precisions.get(name, "float32")} for name in ("apn", "apan", "iqa", "fusion")}
    digests = {name: "00" for name in MODELS}
    about = {"graphs": graphs, KNOWN_ANSWER: known_answer({"qafm": answer()})}
    return Manifest.of(digests, {"qafm": ["IMAGE"]}, about)


def moved(name, by):
    return answer() | {name: answer()[name] + np.float32(by)}


def turned(cosine):
    """A descriptor of this cosine with the known one."""
    one, other = answer()["DESCRIPTOR"], answer(1)["DESCRIPTOR"]
    across = other - (other @ one.T) * one
    across /= np.linalg.norm(across)
    return answer() | {"DESCRIPTOR": np.float32(cosine * one + np.sqrt(1 - cosine**2) * across)}


def test_the_picture_travels_unchanged():
    np.testing.assert_array_equal(decode(encoded_picture()), drawn_picture())


def test_the_answer_itself_is_right_and_survives_a_manifests_json():
    read = Manifest.parse(manifest().json())
    assert ensembles_known(read) == ["qafm"]
    assert set(read.content[KNOWN_ANSWER]["qafm"]) == set(KEPT)
    assert differences(read, "qafm", answer()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (turned(0.99995), turned(0.9998), "cosine is 0.99980, at least 0.9999"),
        (moved("ALPHA", 0.004), moved("ALPHA", -0.006), "α is off by 0.006, at most 0.005"),
        (moved("IDENTIFIABILITY", 0.02), moved("IDENTIFIABILITY", 0.03), "Q is off by 0.012 of it, at most 0.01"),
    ],
    ids=["descriptor", "alpha", "Q"],
)
def test_what_is_off_by_more_than_float32_may_be_is_named(right, wrong, words):
    assert differences(manifest(), "qafm", right) == []
    (said,) = differences(manifest(), "qafm", wrong)
    assert words in said


def test_the_lowest_precision_of_its_networks_decides():
    assert differences(manifest(iqa="int8"), "qafm", turned(0.985)) == []
    assert differences(manifest(iqa="float16"), "qafm", turned(0.985))
    assert differences(manifest(iqa="float16", apn="int8"), "qafm", turned(0.985)) == []


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_number_is_wrong(name):
    assert differences(manifest(), "qafm", moved(name, np.nan))


def test_another_size_is_wrong():
    assert differences(manifest(), "qafm", answer() | {"DESCRIPTOR": np.ones((1, 8))}) == ["DESCRIPTOR has 8 values"]


def test_a_manifest_of_before_knows_none():
    assert ensembles_known(Manifest.parse('{"format": 1}')) == []
