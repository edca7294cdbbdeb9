"""What a person is told of a picture that is not to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
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
_ORDINARY = 0.5
"""The utility of an ordinary picture."""


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
