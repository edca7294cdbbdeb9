"""docs/settings.md is what the settings are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from train.reference import reference
from train.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs/settings.md"


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text() == reference(), "write it anew: python -m train.reference > docs/settings.md"


@pytest.mark.parametrize(
    "row",
    [
        "| `height` | 384, 192, 96 | 384 |",
        "| `blocks` | 4 int | 3, 4, 6, 3 |",
        "| `jitter` | float, ≥ 0, ≤ 1 | 0.2 |",
        "| `degraded.apan` | float, ≥ 0, ≤ 1 | 0.0 |",
        "| `q_crops` | int, ≥ 6 |  |",
        "| `kinds` | some of ",
    ],
)
def test_values_and_bounds_are_told(row):
    assert row in reference()


def test_every_setting_says_what_it_is():
    def silent(model):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from silent(field.annotation)
            elif not field.description:
                yield f"{model.__name__}.{name}"

    assert list(silent(Settings)) == []
