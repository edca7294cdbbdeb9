"""What a repository says of one drawn picture, kept in its manifest: whether a server computes what was exported.

A file that has changed is found by its hash. A processor whose int8 saturates, or a runtime that rounds where it should
not, is found only by what comes out.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from qafm.contract import ALPHA, DESCRIPTOR, IDENTIFIABILITY, MODELS
from qafm.drawn_picture import drawn_picture
from qafm.manifest import Manifest

KNOWN_ANSWER = "known_answer"
"""Its place in a manifest: by ensemble and output, the values as float16 in URL-safe base64."""
KEPT = (DESCRIPTOR.name, ALPHA.name, IDENTIFIABILITY.name)


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may be from the known one.

    cosine: of the descriptors, at least. alpha: its difference, at most. identifiability: its difference relative to
    the known one, at most.
    """

    cosine: float
    alpha: float
    identifiability: float


TOLERANCES = {
    "float32": Tolerance(0.9999, 0.005, 0.01),
    "float16": Tolerance(0.999, 0.01, 0.05),
    "int8": Tolerance(0.98, 0.03, 0.2),
}
"""By the lowest precision of an ensemble's networks. A runtime may round in its own way, as GPUs do in float32."""


def encoded_picture() -> bytes:
    """The picture, as a file that a server takes."""
    stream = io.BytesIO()
    Image.fromarray(drawn_picture()).save(stream, "PNG")
    return stream.getvalue()


def known_answer(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, str]]:
    """What a manifest keeps. answers: by ensemble, its outputs for the picture, each [1, *dims]."""
    return {
        ensemble: {name: base64.urlsafe_b64encode(outputs[name].astype("<f2").tobytes()).decode() for name in KEPT}
        for ensemble, outputs in answers.items()
    }


def ensembles_known(manifest: Manifest) -> list[str]:
    """The ensembles whose answer a manifest has; none in one of before it was kept."""
    return sorted(manifest.content.get(KNOWN_ANSWER) or {})


def differences(manifest: Manifest, ensemble: str, answer: Mapping[str, np.ndarray]) -> list[str]:
    """What is wrong with an answer, its outputs [1, *dims] by name, in words; nothing where it is the known one."""
    expected = {name: _values(text) for name, text in manifest.content[KNOWN_ANSWER][ensemble].items()}
    got = {name: np.asarray(answer[name], np.float64).ravel() for name in expected}
    if wrong := [f"{name} has {got[name].size} values" for name in expected if got[name].size != expected[name].size]:
        return wrong
    tolerance = TOLERANCES[_precision(manifest, ensemble)]
    lengths = np.linalg.norm(expected[DESCRIPTOR.name]) * np.linalg.norm(got[DESCRIPTOR.name])
    cosine = float(expected[DESCRIPTOR.name] @ got[DESCRIPTOR.name] / lengths)
    alpha, q = (float(np.abs(got[name] - expected[name])[0]) for name in (ALPHA.name, IDENTIFIABILITY.name))
    q /= max(float(expected[IDENTIFIABILITY.name][0]), 1e-3)
    # Written so that a value that is no number is wrong.
    return [
        words
        for words, holds in (
            (f"the descriptor's cosine is {cosine:.5f}, at least {tolerance.cosine:g}", cosine >= tolerance.cosine),
            (f"α is off by {alpha:.2g}, at most {tolerance.alpha:g}", alpha <= tolerance.alpha),
            (f"Q is off by {q:.2g} of it, at most {tolerance.identifiability:g}", q <= tolerance.identifiability),
        )
        if not holds
    ]


def _precision(manifest: Manifest, ensemble: str) -> str:
    """The lowest one among the ensemble's networks."""
    graphs: Mapping[str, Any] = manifest.content.get("graphs", {})
    used = {graphs[name]["precision"] for name in MODELS[ensemble].parts if name in graphs}
    return next(name for name in reversed(TOLERANCES) if name in used | {"float32"})


def _values(text: str) -> np.ndarray:
    return np.frombuffer(base64.urlsafe_b64decode(text), "<f2").astype(np.float64)
