from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.degradations import (
    LEVELS,
    Degradation,
    level,
    read_degradations,
    require_recorded,
    write_degradations,
)
from qafm.errors import InvalidDataset

RECORDED = {"query/a.jpg": Degradation("blur", 0.5), "query/ü.jpg": Degradation("none", 0.0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "degradations.json"


def test_levels_by_hand():
    assert [level(strength) for strength in (0, 0.05, 1 / 3, 0.34, 2 / 3, 0.67, 1)] == [
        "none", "slight", "slight", "medium", "medium", "severe", "severe",
    ]  # fmt: skip


@given(st.floats(0, 1))
def test_every_strength_has_the_level_that_its_bounds_say(strength):
    upper = (0, 1 / 3, 2 / 3, 1)
    # The product that decides may round up to the next whole number, or down from it.
    assert level(strength) in {
        name
        for name, most, least in zip(LEVELS, upper, (-math.inf, *upper), strict=False)
        if least - 1e-15 <= strength <= most + 1e-15
    }


def test_what_is_written_is_read_and_stands_in_order_of_path(path):
    write_degradations(path, dict(reversed(RECORDED.items())))
    assert read_degradations(path) == RECORDED
    content = json.loads(path.read_text())
    assert content["version"] == 1
    assert list(content["images"]) == sorted(RECORDED)
    assert content["fields"].keys() == {"kind", "strength"}


def test_a_file_without_version_is_read_and_a_later_one_refused(path):
    images = {"query/a.jpg": {"kind": "blur", "strength": 1, "since": 1999}}
    path.write_text(json.dumps({"images": images}))
    assert read_degradations(path) == {"query/a.jpg": ("blur", 1.0)}
    path.write_text(json.dumps({"version": 2, "images": images}))
    with pytest.raises(InvalidDataset, match="its version is 2; this program reads version 1"):
        read_degradations(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": []}', "\xff", '{"version": 1}'])
def test_another_format_is_named(path, text):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidDataset, match=r"degradations\.json: not a degradations\.json"):
        read_degradations(path)


@pytest.mark.parametrize("strength", ["1.2", "-0.1", "NaN", "Infinity", "true", '"0.5"', "null", "[]"])
def test_a_strength_out_of_range_names_the_image(path, strength):
    """It was read once, and found when its level was looked up: after all images were described."""
    path.write_text('{"images": {"query/b.jpg": {"kind": "blur", "strength": STRENGTH}}}'.replace("STRENGTH", strength))
    with pytest.raises(InvalidDataset, match=r"image query/b\.jpg: expected .* from 0 to 1"):
        read_degradations(path)


@pytest.mark.parametrize("entry", [1, {"kind": "blur"}, {"strength": 0.5}, {"kind": 1, "strength": 0.5}, None])
def test_an_entry_of_another_form_names_the_image(path, entry):
    path.write_text(json.dumps({"images": {"query/b.jpg": entry}}))
    with pytest.raises(InvalidDataset, match=r"image query/b\.jpg: expected"):
        read_degradations(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(InvalidDataset, match=r"degradations\.json"):
        read_degradations(path)


def test_images_that_are_not_recorded_are_counted_and_the_first_is_named(path):
    require_recorded(RECORDED, ["query/a.jpg"], path)
    with pytest.raises(InvalidDataset, match=r"says nothing of 2 of the images; the first is query/x\.jpg"):
        require_recorded(RECORDED, ["query/a.jpg", "query/x.jpg", "gallery/y.jpg"], path)
