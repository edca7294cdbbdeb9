"""What a person is told of a picture's quality, and when nothing is said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from client import complaint, rating
from client.testing import made_up
from qafm.diagnosis import Defect, Diagnosis
from qafm.errors import ContractMismatch
from qafm.manifest import Manifest

DARK = dataclasses.replace(made_up(b"dark"), scatter=np.full(34, 0.5, np.float32), utility=0.2)
CHECKED = {"darkness": {"n": 43, "spearman": {"identifiability": -0.5, "utility": 0.6}}}


def manifest(quality: Any = CHECKED, name: str = "darkness", right: int = 100) -> Manifest:
    rule = Diagnosis({name: Defect(2.0, np.zeros(34), 100, right, people=100)})
    return Manifest({"diagnosis": rule.content(), "quality": quality}, {})


def test_what_is_wrong_is_said():
    assert complaint(DARK, manifest()) == "too dark to trust"
    assert complaint(dataclasses.replace(DARK, utility=None), manifest()) == "too dark to trust"


def test_nothing_is_said_where_nothing_is_known():
    assert complaint(DARK, Manifest({}, {})) is None
    assert complaint(DARK, Manifest({"diagnosis": None, "quality": CHECKED}, {})) is None
    assert complaint(dataclasses.replace(DARK, scatter=None), manifest()) is None
    assert complaint(DARK, manifest(right=60)) is None
    assert complaint(DARK, manifest(name="fog")) is None, "a defect that a newer export knows"


def test_an_ordinary_picture_is_not_complained_of():
    assert complaint(dataclasses.replace(DARK, utility=0.5), manifest()) is None


@pytest.mark.parametrize(
    "quality",
    [
        None,
        {},
        {"darkness": {"n": 43, "spearman": {"utility": 0.2}}},
        {"darkness": {"n": 3, "spearman": {"utility": 0.9}}},
        {"darkness": {"n": 1, "spearman": {"utility": None}}},
        {"darkness": {"n": 43, "spearman": {"identifiability": 0.9, "utility": None}}},
    ],
)
def test_only_where_the_check_passed(quality):
    assert complaint(DARK, manifest(quality)) is None


def test_blur_is_seen_in_both_of_its_kinds():
    passed = {"n": 43, "spearman": {"identifiability": 0.6}}
    assert complaint(DARK, manifest({"blur": passed}, "blur")) is None
    said = complaint(DARK, manifest({"blur": passed, "low_resolution": passed}, "blur"))
    assert said == "too blurred, or too small, to trust"


def test_a_damaged_rule_is_an_error():
    with pytest.raises(ContractMismatch, match="Export the models again"):
        complaint(DARK, Manifest({"diagnosis": {"darkness": 1}, "quality": CHECKED}, {}))


def checked(**intervals: list[float]) -> Manifest:
    discard = {name: {"interval": interval} for name, interval in intervals.items()}
    return Manifest({"quality": {"discard": discard}, "weighting": {"kind": "paper", "mu": 2.0, "sigma": 0.5}}, {})


@pytest.mark.parametrize(
    ("utility", "said"),
    [
        (0.5, "good (utility 0.50; 0.5 is ordinary)"),
        (0.49, "usable (utility 0.49; 0.5 is ordinary)"),
        (0.24, "poor (utility 0.24; 0.5 is ordinary)"),
    ],
)
def test_quality_in_a_word(utility, said):
    picture = dataclasses.replace(DARK, utility=utility)
    assert str(rating(picture, checked(utility=[0.01, 0.03]))) == said
    assert rating(picture, checked(utility=[-0.01, 0.03], identifiability=[0.01, 0.03])) is None


@pytest.mark.parametrize(
    ("q", "said"),
    [
        (1.5, "good (Q -1.0 standard deviations; lower is better)"),
        (2.4, "usable (Q +0.8 standard deviations; lower is better)"),
        (3.0, "poor (Q +2.0 standard deviations; lower is better)"),
    ],
)
def test_without_a_utility_it_is_told_by_q(q, said):
    picture = dataclasses.replace(DARK, utility=None, identifiability=q)
    assert str(rating(picture, checked(identifiability=[0.01, 0.03]))) == said
    assert rating(picture, checked(identifiability=[-0.01, 0.03])) is None


def test_no_word_where_none_is_backed():
    assert rating(DARK, Manifest({}, {})) is None
    assert rating(DARK, Manifest({"quality": {"discard": None}}, {})) is None
    without = dataclasses.replace(DARK, utility=None)
    assert (
        rating(without, Manifest({"quality": {"discard": {"identifiability": {"interval": [0.1, 0.2]}}}}, {})) is None
    )
    assert rating(dataclasses.replace(without, identifiability=None), checked(identifiability=[0.1, 0.2])) is None
