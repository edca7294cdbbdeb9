"""`alpha.npz`: written and read back, of earlier and newer versions, unknown and damaged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality
from qafm.weighting import load_weighting, save_weighting
from qafm.weighting.constant import Constant
from qafm.weighting.files import KINDS
from qafm.weighting.perceptron import HIDDEN_SIZE, Perceptron
from qafm.weighting.retrieval import Retrieval

rng = np.random.default_rng(0)
PAPER = Perceptron(
    w1=rng.normal(size=(HIDDEN_SIZE, 1)),
    b1=rng.normal(size=HIDDEN_SIZE),
    w2=rng.normal(size=(1, HIDDEN_SIZE)),
    b2=rng.normal(size=1),
    mu=np.array(11.1),
    sigma=np.array(0.66),
)
RETRIEVAL = Retrieval(
    centre=rng.normal(size=40), spread=rng.uniform(0.5, 2, 40), linear=rng.normal(size=40), offset=np.array(-0.4)
)
WEIGHTINGS = (PAPER, Constant(np.array(0.3)), RETRIEVAL)
SOME = Quality(10.5, np.zeros(34, np.float32), np.zeros(2048))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "alpha.npz"


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda weighting: weighting.kind)
def test_saved_and_loaded(path, weighting):
    save_weighting(path, weighting)
    loaded = load_weighting(path)
    assert type(loaded) is type(weighting)
    assert loaded.alpha(SOME) == weighting.alpha(SOME)
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored.files) == {"format", "kind", *weighting.shapes}
        assert (stored["format"].item(), stored["kind"].item()) == (2, weighting.kind)
        assert stored["format"].shape == stored["kind"].shape == () and stored["kind"].dtype.kind == "U"
        assert all((stored[name].dtype, stored[name].shape) == (np.float32, shape)
                   for name, shape in weighting.shapes.items())  # fmt: skip


def test_every_kind_is_saved_and_loaded_above():
    assert {weighting.kind for weighting in WEIGHTINGS} == KINDS.keys()
    assert not {"kind", "format"} & {name for kind in KINDS.values() for name in kind.shapes}


def test_a_file_of_format_1_is_the_papers_perceptron(path):
    np.savez(path, **PAPER.arrays())
    loaded = load_weighting(path)
    assert isinstance(loaded, Perceptron) and loaded.alpha(SOME) == PAPER.alpha(SOME)


@pytest.mark.parametrize("number", [3, 0, "2.0"])
def test_another_format_is_refused(path, number):
    np.savez(path, format=np.array(number), kind=np.array("paper"), **PAPER.arrays())
    with pytest.raises(
        InvalidCheckpoint, match=rf"alpha\.npz: expected format 2 or an earlier one, got {number}; .*update"
    ):
        load_weighting(path)


def test_an_unknown_kind_is_refused_and_the_known_are_named(path):
    np.savez(path, format=np.array(2), kind=np.array("magic"), w=np.zeros(3))
    with pytest.raises(InvalidCheckpoint, match=r"alpha\.npz: no weighting of kind 'magic' .* paper, constant"):
        load_weighting(path)


def test_names_an_array_that_a_file_lacks(path):
    np.savez(path, w1=np.zeros((32, 1)))
    with pytest.raises(InvalidCheckpoint, match=r"alpha\.npz: no array b1, b2, mu, sigma, w2; expected w1, "):
        load_weighting(path)


def test_names_the_file_whose_array_does_not_fit(path):
    np.savez(path, format=np.array(2), kind=np.array("constant"), alpha=np.array(2.0))
    with pytest.raises(InvalidCheckpoint, match=r"alpha\.npz: the constant weighting's alpha .* 2\.0"):
        load_weighting(path)


def write_damaged(path: Path, how: str) -> None:
    save_weighting(path, PAPER)
    content = path.read_bytes()
    if how == "a flipped bit":
        at = content.index(PAPER.w1.tobytes())
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == "pickled":
        np.savez(path, format=np.array(2), kind=np.array("paper"), w1=np.array([object()]))
    elif how == "an .npy":
        with path.open("wb") as file:
            np.save(file, PAPER.w1)
    else:
        path.write_bytes(content[: {"truncated": 700, "empty": 0}[how]])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not an .npz file"),
        ("empty", "not an .npz file"),
        ("an .npy", "not an .npz file"),
        ("a flipped bit", "the file is damaged"),
        ("pickled", "the file is damaged"),
    ],
)
def test_a_damaged_file_is_named(path, how, message):
    write_damaged(path, how)
    with pytest.raises(InvalidCheckpoint, match=re.escape(f"{path}: {message}")):
        load_weighting(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"alpha\.npz"):
        load_weighting(path)
