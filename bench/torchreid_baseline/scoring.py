"""Descriptors of a torchreid model as ours, scored by our metrics and, as a cross check, by torchreid's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bench.torchreid_baseline.engine import HELD_OUT, TEST, Sides
from qafm.retrieval.descriptors import Descriptors, write_descriptors
from qafm.retrieval.metrics import evaluate


def score(torchreid: ModuleType, engine: Any, sides: dict[str, Sides], data: Path, out: Path) -> dict[str, object]:
    """Metrics by cosine distance, of the test set and of the held-out people. Writes the descriptors into `out`."""
    query, gallery = (describe(engine, sides, TEST, side, data) for side in ("query", "gallery"))
    held_out = describe(engine, sides, HELD_OUT, "query", data)
    features = [torch.from_numpy(side.descriptors) for side in (query, gallery)]
    distances = torchreid.metrics.compute_distance_matrix(*features, "cosine").numpy()
    ids = (query.pids, gallery.pids, query.camids, gallery.camids)
    cmc, mean_precision = torchreid.metrics.evaluate_rank(distances, *ids)
    (query, gallery), zeros = with_direction(query, gallery)
    (held_out,), _ = with_direction(held_out)
    for name, content in (("query", query), ("gallery", gallery), ("held_out", held_out)):
        write_descriptors(out / f"{name}.npz", content)
    return {
        "ours": evaluate(query, gallery, distance="cosine").summary(),
        "torchreid": {"mAP": float(mean_precision), **{f"rank{k}": float(cmc[k - 1]) for k in (1, 5, 10)}},
        "all_zero_descriptors": zeros,
        "held_out": evaluate(held_out, held_out, distance="cosine").summary(),
    }


@torch.no_grad()
def describe(engine: Any, sides: dict[str, Sides], dataset: str, side: str, data: Path) -> Descriptors:
    """The features that the engine's own test loader yields; identities, cameras and paths as we name them."""
    engine.set_model_mode("eval")
    features, pids = [], []
    for batch in engine.test_loader[dataset][side]:
        images, batch_pids, _ = engine.parse_data_for_eval(batch)
        features.append(engine.extract_features(images))
        pids += batch_pids.tolist()
    crops = sides[dataset][side]
    if pids != [crop.pid for crop in crops]:
        raise RuntimeError(
            f"{dataset}, {side}: torchreid read other crops than it was given, or in another order; "
            "this was written for version 1.4.0 of it"
        )
    return Descriptors(
        descriptors=torch.cat(features).numpy().astype(np.float32),
        pids=np.array(pids, dtype=np.int64),
        camids=np.array([crop.camid for crop in crops], dtype=np.int64),
        paths=np.array([crop.path.relative_to(data).as_posix() for crop in crops]),
    )


def with_direction(*sides: Descriptors) -> tuple[list[Descriptors], int]:
    """The same cosine distances as torchreid's, where a descriptor may be all zeros; and how many are.

    OSNet's features end in a ReLU, and torchreid puts a vector of zeros at distance 1 from everything, itself included;
    our scoring refuses it. Each of them gets a dimension of its own, in which it alone is not zero.
    """
    vectors = np.concatenate([side.descriptors for side in sides])
    zero = np.flatnonzero(~vectors.any(axis=1))
    extra = np.zeros((len(vectors), len(zero)), dtype=np.float32)
    extra[zero, np.arange(len(zero))] = 1
    parts = np.split(np.hstack([vectors, extra]), np.cumsum([len(side) for side in sides])[:-1])
    return [replace(side, descriptors=part) for side, part in zip(sides, parts, strict=True)], len(zero)
