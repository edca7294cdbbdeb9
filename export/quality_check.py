"""What the signals of quality tell, measured before they are served: on pictures made worse in a known way.

Nothing is refused: a user of quality must know what it tells, and what it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from export.pipelines import Pipeline, stacked
from qafm.contract import ALPHA, DESCRIPTOR, IDENTIFIABILITY, SCATTER, UTILITY, VISUAL
from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from qafm.errors import InvalidDescriptors
from qafm.images import resize
from qafm.quality import beyond_chance
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import discard_curves, quality_signals
from qafm.retrieval.metrics import evaluate
from synthetic.degradation import EVERY_KIND
from train.data import read_crop
from train.quality.spoilt import Spoilt

PICTURES, _TIMES = 300, 3
"""At most so many are made worse, each in one way. Where crops are fewer each comes so often: a rank correlation over
ten pictures says little."""


def spoil(crops: Sequence[Crop], seed: int) -> list[Spoilt]:
    """At most PICTURES made of the crops, of whole people drawn by `seed`, each with one kind of degradation.

    Of fewer crops each comes up to three times. All kinds come as often, each in strengths that lie evenly between 0
    and 1.
    """
    generator = np.random.default_rng(seed)
    people = generator.permutation(sorted({crop.pid for crop in crops})).tolist()
    taken = sorted(crops, key=lambda crop: people.index(crop.pid))[:PICTURES]
    drawn = [taken[row] for _ in range(_TIMES) for row in generator.permutation(len(taken))][:PICTURES]
    spoilt = []
    for number, kind in enumerate(EVERY_KIND):
        share = drawn[number :: len(EVERY_KIND)]
        for place, crop in enumerate(share):
            degradation = Degradation(kind, (place + 0.5) / len(share))
            spoilt.append(Spoilt(crop, degradation, int(generator.integers(2**32))))
    return spoilt


@dataclass(frozen=True, eq=False)
class Looked:
    """Spoilt pictures as a pipeline describes them.

    outputs: of the 35 views, arrays [N,...] by tensor name. fast: the same by one look, where the pipeline can; else
    None. gallery: the crops as they were, by the pictures' mean α.
    """

    pictures: Sequence[Spoilt]
    outputs: Mapping[str, np.ndarray]
    fast: Mapping[str, np.ndarray] | None
    gallery: Descriptors

    def query(self, outputs: Mapping[str, np.ndarray], vectors: np.ndarray | None = None) -> Descriptors:
        """The pictures by one of the two, or by other vectors [N,1000], with their signals of quality."""
        signals = {"identifiability": outputs[IDENTIFIABILITY.name][:, 0], "scatter": outputs[SCATTER.name]}
        if UTILITY.name in outputs:
            signals["utility"] = outputs[UTILITY.name][:, 0]
        vectors = outputs[DESCRIPTOR.name] if vectors is None else vectors
        return _descriptors(vectors, [picture.crop for picture in self.pictures], **signals)


def look(pipeline: Pipeline, spoilt: Iterable[Spoilt]) -> Looked:
    """Raises InvalidDataset where a crop cannot be read."""
    pictures, described, fast = [], [], []
    for picture in spoilt:
        pictures.append(picture)
        pixels = picture.picture()
        described.append(pipeline.describe([pixels]))
        if pipeline.has_quality:
            fast.append(pipeline.describe_fast([pixels]))
    outputs = stacked(described)
    alpha = float(outputs[ALPHA.name].mean())
    gallery = _described(pipeline, list(dict.fromkeys(picture.crop for picture in pictures)), alpha)
    return Looked(pictures, outputs, stacked(fast) if fast else None, gallery)


def check_quality(pipeline: Pipeline, looked: Looked) -> dict[str, Any]:
    """What each signal of quality tells of pictures that are made worse, as the manifest has it under "quality".

    Of each kind of degradation "n", the number of pictures, and "spearman": by signal the rank correlation, in [-1,1],
    of a picture's strength with how bad the signal says it is; null where there is none. Under "discard" the curves
    (`qafm.retrieval.discard`) of each signal and of the true strength, the spoilt pictures looked for among their crops
    as they were; null where none has a match by another camera. There all have one α, the mean: quality is judged, not
    what uses it.
    """
    outputs = looked.outputs
    query = looked.query(outputs, _fused(pipeline, outputs, float(outputs[ALPHA.name].mean())))
    strength = np.array([picture.degradation.strength for picture in looked.pictures])
    kinds = np.array([picture.degradation.kind for picture in looked.pictures])
    by_kind = {kind: _told(query, strength, kinds == kind) for kind in dict.fromkeys(kinds.tolist())}
    return {**by_kind, "discard": _discard(query, strength, looked.gallery)}


def misleading(quality: Mapping[str, Any]) -> list[str]:
    """What falls, beyond chance, as pictures get worse, in words; of what `check_quality` returns."""
    return [
        f"{signal} says that pictures get better as they get worse by {kind.replace('_', ' ')}: rank correlation with "
        f"its strength {correlation:+.2f} over {about['n']} pictures"
        for kind, about in quality.items()
        if kind != "discard"
        for signal, correlation in about["spearman"].items()
        if correlation is not None and beyond_chance(-correlation, about["n"])
    ]


def _told(query: Descriptors, strength: np.ndarray, taken: np.ndarray) -> dict[str, Any]:
    """What the signals tell of the pictures that are taken, bool [N]."""
    correlations = {
        name: _rank_correlation(strength[taken], -signal[taken]) for name, signal in quality_signals(query).items()
    }
    return {"n": int(taken.sum()), "spearman": correlations}


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """None where one of them is the same everywhere."""
    if len(np.unique(one)) < 2 or len(np.unique(other)) < 2:
        return None
    return float(spearmanr(one, other).statistic)


def _discard(query: Descriptors, strength: np.ndarray, gallery: Descriptors) -> dict[str, Any] | None:
    try:
        metrics = evaluate(query, gallery)
        curves = discard_curves(query, metrics, {"true strength": -strength})
    except InvalidDescriptors:
        return None
    return {name: curve.summary() for name, curve in curves.items()}


def _described(pipeline: Pipeline, crops: Sequence[Crop], alpha: float) -> Descriptors:
    """Crops as they are, by one look at each."""
    vectors = []
    for crop in crops:
        vectors.append(_fused(pipeline, pipeline.by_branches(resize(read_crop(crop))[np.newaxis]), alpha))
    return _descriptors(np.concatenate(vectors), crops)


def _fused(pipeline: Pipeline, outputs: Mapping[str, np.ndarray], alpha: float) -> np.ndarray:
    weights = np.full((len(outputs[VISUAL.name]), 1), alpha, np.float32)
    return pipeline.fused({**outputs, ALPHA.name: weights})[DESCRIPTOR.name]


def _descriptors(vectors: np.ndarray, crops: Sequence[Crop], **signals: np.ndarray) -> Descriptors:
    pids, camids = (np.array([getattr(crop, name) for crop in crops], np.int64) for name in ("pid", "camid"))
    return Descriptors(vectors, pids, camids, **signals)
