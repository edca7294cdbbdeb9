"""What a person is told of a picture, and when nothing is said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from client import complaint
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
