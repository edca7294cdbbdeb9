"""The model card of an export: what it is, what it is for, what was measured of it, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from export.quality_check import misleading
from qafm.attributes import SCHEMA
from qafm.contract import APAN
from qafm.manifest import Manifest

MODEL_CARD = "MODEL_CARD.md"

USE_AND_LIMITS = Path(str(files("export"))) / "model_card.md"
"""What every card says."""
_DATA = ("name", "identities", "crops", "held_out_identities", "held_out_crops")
"""What is told of the training data."""


def model_card(manifest: Manifest) -> str:
    """Markdown, of what a manifest says."""
    content = manifest.content
    return "\n".join(
        [
            f"# Model card: {', '.join(map(manifest.model, manifest.fingerprints))}",
            "",
            f"Person re-identification with QAFM, exported {content['exported']}.",
            "",
            *_origin(content["origin"]),
            "",
            USE_AND_LIMITS.read_text(encoding="utf-8"),
            "## What was measured at the export",
            "",
            *_measured(manifest),
            "",
            "Not measured here: how well it tells your people apart. `client eval` measures that.",
            "",
        ]
    )


def _origin(origin: Mapping[str, Any]) -> Iterator[str]:
    settings, data = origin.get("settings", {}), origin.get("data", {})
    told = {
        "run": origin.get("run"),
        "first weights": settings.get("weights"),
        "seed": settings.get("seed"),
        "training data": ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in data.items() if key in _DATA),
    }
    for name, value in told.items():
        if value not in (None, ""):
            yield f"- {name}: {value}"


def _measured(manifest: Manifest) -> Iterator[str]:
    content, taught = manifest.content, manifest.taught
    if APAN not in content["graphs"]:
        yield "- Attributes: none. It was trained on appearance alone, and guesses nothing of people."
    elif taught and len(taught) < len(SCHEMA):
        yield f"- Attributes: it learnt {', '.join(taught)}; what ATTRIBUTES says of others means nothing."
    precisions = {name: graph["precision"] for name, graph in content["graphs"].items()}
    yield f"- Networks: {', '.join(f'{name} in {precision}' for name, precision in precisions.items())}."
    difference = content.get("differences", {}).get("DESCRIPTOR")
    if difference:
        yield (
            "- The exported networks against the trained ones: a descriptor differs by "
            f"{difference['measured']:.1g} at most, of {difference['allowed']:g} allowed."
        )
    weighting = content["weighting"]
    constant = f", {weighting['alpha']:.3f} for every picture" if "alpha" in weighting else ""
    yield f"- α: {weighting['kind']}{constant}."
    yield from _quality(content.get("quality"))


def _quality(quality: Mapping[str, Any] | None) -> Iterator[str]:
    if not quality:
        yield "- Quality: not checked. Do not rely on UTILITY or Q."
        return
    curves = quality.get("discard") or {}
    for name in ("utility", "identifiability"):
        if name in curves:
            low, high = curves[name]["interval"]
            worth = "gains" if low > 0 else "loses" if high < 0 else "neither gains nor loses, beyond chance"
            gain, *ends = (f"{100 * value:+.1f}" for value in (curves[name]["area"], low, high))
            yield (
                f"- Leaving out the pictures that {name} calls the worst {worth}: {gain} points of mAP "
                f"({' to '.join(ends)}), on held-out people made worse in known ways."
            )
    for words in misleading(quality):
        yield f"- **{words[0].upper()}{words[1:]}.**"
