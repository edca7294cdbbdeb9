"""What the signals of quality tell, measured before they are served: on pictures made worse in a known way.

Nothing is refused: a user of quality must know what it tells, and what it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from export.pipelines import Pipeline
from qafm.contract import ALPHA, CROP, DESCRIPTOR, FUSION, IDENTIFIABILITY, SCATTER, SEMANTIC, UTILITY, VISUAL
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

PICTURES = 300
"""At most so many are made worse, each in one way."""


def spoil(crops: Sequence[Crop], seed: int) -> list[Spoilt]:
    """At most PICTURES of the crops, of whole people drawn by `seed`, each with one kind of degradation.

    All kinds come as often, each in strengths that lie evenly between 0 and 1.
    """
    generator = np.random.default_rng(seed)
    people = generator.permutation(sorted({crop.pid for crop in crops})).tolist()
    taken = sorted(crops, key=lambda crop: people.index(crop.pid))[:PICTURES]
    drawn = [taken[row] for row in generator.permutation(len(taken))]
    spoilt = []
    for number, kind in enumerate(EVERY_KIND):
        share = drawn[number :: len(EVERY_KIND)]
        for place, crop in enumerate(share):
            degradation = Degradation(kind, (place + 0.5) / len(share))
            spoilt.append(Spoilt(crop, degradation, int(generator.integers(2**32))))
    return spoilt


def check_quality(pipeline: Pipeline, spoilt: Iterable[Spoilt]) -> dict[str, Any]:
    """What each signal of quality tells of pictures that are made worse, as the manifest has it under "quality".

    Of each kind of degradation "n", the number of pictures, and "spearman": by signal the rank correlation, in [-1,1],
    of a picture's strength with how bad the signal says it is; null where there is none. Under "discard" the curves
    (`qafm.retrieval.discard`) of each signal and of the true strength, the spoilt pictures looked for among their crops
    as they were; null where none has a match by another camera. There all have one α, the mean: quality is judged, not
    what uses it.
    Raises InvalidDataset where a crop cannot be read.
    """
    pictures, described = [], []
    for picture in spoilt:
        pictures.append(picture)
        described.append(pipeline.describe([picture.picture()]))
    outputs = {name: np.concatenate([each[name] for each in described]) for name in described[0]}
    crops = [picture.crop for picture in pictures]
    alpha = float(outputs[ALPHA.name].mean())
    signals = {"identifiability": outputs[IDENTIFIABILITY.name][:, 0], "scatter": outputs[SCATTER.name]}
    if UTILITY.name in outputs:
        signals["utility"] = outputs[UTILITY.name][:, 0]
    query = _descriptors(_fused(pipeline, outputs, alpha), crops, **signals)
    strength = np.array([picture.degradation.strength for picture in pictures])
    kinds = np.array([picture.degradation.kind for picture in pictures])
    by_kind = {kind: _told(query, strength, kinds == kind) for kind in dict.fromkeys(kinds.tolist())}
    return {**by_kind, "discard": _discard(query, strength, _described(pipeline, crops, alpha))}


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
        seen = {CROP.name: resize(read_crop(crop))[np.newaxis]}
        vectors.append(_fused(pipeline, pipeline.run("apn", seen) | pipeline.run("apan", seen), alpha))
    return _descriptors(np.concatenate(vectors), crops)


def _fused(pipeline: Pipeline, outputs: Mapping[str, np.ndarray], alpha: float) -> np.ndarray:
    weights = np.full((len(outputs[VISUAL.name]), 1), alpha, np.float32)
    inputs = {name: outputs[name] for name in (VISUAL.name, SEMANTIC.name)} | {ALPHA.name: weights}
    return pipeline.run(FUSION, inputs)[DESCRIPTOR.name]


def _descriptors(vectors: np.ndarray, crops: Sequence[Crop], **signals: np.ndarray) -> Descriptors:
    pids, camids = (np.array([getattr(crop, name) for crop in crops], np.int64) for name in ("pid", "camid"))
    return Descriptors(vectors, pids, camids, **signals)
