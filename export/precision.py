"""The arithmetic of exported graphs, as somebody chooses it: `export.reduced` writes them so."""

from __future__ import annotations

from typing import Literal

from qafm.contract import FUSION, GRAPHS
from qafm.errors import InvalidSettings

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""Their names in words, as the manifest has them."""

FIXED = {FUSION: "fp32"}
"""Fusion hands its inputs on unchanged, and is a thousandth of the work: it stays as it was trained."""


def parse_precisions(text: str) -> dict[str, Precision]:
    """`int8,apan=fp16`: a default for the networks, then exceptions by model. `fusion` is always fp32.

    Raises InvalidSettings.
    """
    default, *exceptions = (part.strip() for part in text.split(","))
    chosen = dict.fromkeys(GRAPHS, _precision(default)) | FIXED
    for exception in exceptions:
        model, equals, precision = exception.partition("=")
        if not equals or model not in GRAPHS:
            raise InvalidSettings(
                f"precision {exception!r}: expected MODEL=PRECISION after the default, with a model of "
                f"{', '.join(GRAPHS)}; as in int8,apan=fp16"
            )
        if _precision(precision) != FIXED.get(model, precision):
            raise InvalidSettings(
                f"precision {exception!r}: {model} hands its inputs on unchanged and stays in {FIXED[model]}"
            )
        chosen[model] = precision
    return chosen


def _precision(text: str) -> Precision:
    if text not in PRECISIONS:
        raise InvalidSettings(f"precision {text!r}: expected one of {', '.join(PRECISIONS)}")
    return text
