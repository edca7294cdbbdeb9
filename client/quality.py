"""What a person is told of a picture's quality: a word, and what is wrong with one that is not to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.description import Description
from qafm.diagnosis import DEFECTS, Diagnosis
from qafm.errors import ContractMismatch, InvalidCheckpoint
from qafm.manifest import Manifest
from qafm.quality import beyond_chance

_SENTENCES = {
    "blur": "too blurred, or too small, to trust",
    "darkness": "too dark to trust",
    "noise": "too noisy to trust",
    "occlusion": "too much is hidden to trust it",
    "misalignment": "too badly cut out to trust",
}
_ORDINARY, _POOR = 0.5, 0.25
"""Utilities: of an ordinary picture, and where a poor one begins."""


@dataclass(frozen=True)
class Rating:
    """A picture's quality in a word, "good" (an ordinary one or better), "usable" or "poor", and what it is told by.

    Reads "good (utility 0.62; 0.5 is ordinary)".
    """

    word: str
    by: str

    def __str__(self) -> str:
        return f"{self.word} ({self.by})"


def rating(description: Description, manifest: Manifest) -> Rating | None:
    """A picture's quality, by its utility; where the server gives none, by Q.

    Q is told by its distance to the mean of the training crops, in their standard deviations: usable up to one above,
    then poor. None where the export did not see, on held-out people, that leaving out the pictures which the signal
    calls the worst raises mAP beyond chance; then a word would only mislead.
    """
    checked = (manifest.content.get("quality") or {}).get("discard") or {}
    if description.utility is not None:
        word = "good" if description.utility >= _ORDINARY else "usable" if description.utility >= _POOR else "poor"
        told = Rating(word, f"utility {description.utility:.2f}; {_ORDINARY} is ordinary")
        return told if _pays(checked.get("utility")) else None
    weighting = manifest.content.get("weighting") or {}
    if description.identifiability is None or not weighting.get("sigma"):
        return None
    z = (description.identifiability - weighting["mu"]) / weighting["sigma"]
    told = Rating(
        "good" if z <= 0 else "usable" if z <= 1 else "poor", f"Q {z:+.1f} standard deviations; lower is better"
    )
    return told if _pays(checked.get("identifiability")) else None


def complaint(description: Description, manifest: Manifest) -> str | None:
    """What is wrong with a picture, such as "too dark to trust"; None where nothing is, or where that is not known.

    Told from `scatter` by the rule that travels in the manifest of what described the picture. Only of a picture whose
    utility is below that of an ordinary one; only where the rule was right on people who did not teach it (see
    `qafm.diagnosis.RELIABLE`); and only where the export saw the utility, or without one Q, get worse with that defect,
    on held-out people, some of whom taught both.
    Raises ContractMismatch for a manifest whose rule cannot be read.
    """
    rule = manifest.content.get("diagnosis")
    if rule is None or description.scatter is None:
        return None
    if description.utility is not None and description.utility >= _ORDINARY:
        return None
    try:
        defect = Diagnosis.from_content(rule).of(description.scatter)
    except InvalidCheckpoint as error:
        raise ContractMismatch(
            f"the manifest's diagnosis cannot be read: {error}. Export the models again, or use the client of the "
            "version that exported them"
        ) from error
    if defect not in _SENTENCES or not _seen_to_fall(manifest.content.get("quality"), defect):
        return None
    return _SENTENCES[defect]


def _seen_to_fall(quality: Mapping[str, Any] | None, defect: str) -> bool:
    """Whether the export's check saw quality fall, beyond chance, with each kind of the defect."""
    checked = [(quality or {}).get(kind) for kind in DEFECTS.get(defect, ())]
    return bool(checked) and all(about is not None and _falls(about) for about in checked)


def _falls(about: Mapping[str, Any]) -> bool:
    signals = about["spearman"]
    told = signals.get("utility", signals.get("identifiability"))
    return beyond_chance(told, about["n"])


def _pays(curve: Mapping[str, Any] | None) -> bool:
    """Whether a discard curve of the export's check gains beyond chance."""
    return curve is not None and curve["interval"][0] > 0
