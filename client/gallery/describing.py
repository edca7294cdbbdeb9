"""Describing files, without asking again what is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client.description import Description
from client.ensembles import ensemble_for
from client.evaluation.confirmed import OnError, Unconfirmed, keep
from client.gallery.cache import Cache, content_key
from client.progress import Progress
from client.reid import ReidClient, Result
from qafm.contract import QAFM
from qafm.datasets.crops import Crop
from qafm.errors import InvalidDataset
from qafm.record import RECORD
from qafm.retrieval.descriptors import Descriptors


@dataclass
class _Found:
    """Takes descriptions as they are confirmed. warn: is told where the cache cannot keep them."""

    cache: Cache | None
    warn: Callable[[str], None]
    descriptions: dict[bytes, Description] = field(default_factory=dict)

    def add(self, described: Sequence[tuple[bytes, Description]]) -> None:
        self.descriptions.update(described)
        if self.cache:
            try:
                self.cache.add(described)
            except OSError as error:
                self.warn(f"nothing is kept for the next time: {error}")
                self.cache = None


async def describe_files(
    client: ReidClient,
    paths: Sequence[Path],
    alpha: float | None = None,
    *,
    ensemble: str = QAFM,
    cache: Cache | None,
    on_error: OnError = "skip",
    concurrency: int,
    progress: Progress,
    warn: Callable[[str], None],
) -> list[Result]:
    """The description of each file, or with "skip" why there is none. What a `cache` has is not sent.

    alpha, ensemble: as `ReidClient.describe` takes them. on_error: "fail" raises the first error. Raises as `describe`
    does where the server goes away; what was described until then is in the cache.
    """
    # Without a cache nothing is read to be recognised.
    keys = [content_key(path) if cache else str(row).encode() for row, path in enumerate(paths)]
    found = _Found(cache, warn)
    if cache:
        found.descriptions = {key: kept for key in set(keys) if (kept := cache.find(key))}
    todo = [row for row, key in enumerate(keys) if key not in found.descriptions]
    known = len(paths) - len(todo)
    results = client.describe_many(
        (paths[row] for row in todo), alpha, ensemble=ensemble, concurrency=concurrency, return_errors=True
    )
    with progress(f"describe, {known:,} known" if known else "describe", len(todo)) as step:
        failed = await keep(results, todo, keys, Unconfirmed(client, found), on_error, step)
    if cache:
        cache.tidy()
    return [failed[row] if row in failed else found.descriptions[key] for row, key in enumerate(keys)]


def model_asked(client: ReidClient, alpha: float | None, ensemble: str) -> str:
    """The name of what `ReidClient.describe` describes by. Raises as that does."""
    ensemble = ensemble_for(alpha, ensemble)
    client.outputs(ensemble)
    return client.manifest.model(ensemble, alpha)


def embedded(crops: Sequence[Crop], results: Sequence[Result], folder: Path, model: str) -> Descriptors:
    """The crops that could be described, as a descriptor file has them, their paths below `folder`.

    Raises InvalidDataset where there are none.
    """
    described = [(crop, result) for crop, result in zip(crops, results, strict=True) if isinstance(result, Description)]
    if not described:
        raise InvalidDataset(f"{folder}: none of its {len(crops)} images could be described")
    kept = [field for field in RECORD if getattr(described[0][1], field.name) is not None]
    return Descriptors(
        pids=np.array([crop.pid for crop, _ in described], dtype=np.int64),
        camids=np.array([crop.camid for crop, _ in described], dtype=np.int64),
        paths=np.array([crop.path.relative_to(folder).as_posix() for crop, _ in described], dtype=np.str_),
        model=model,
        **{
            field.array: np.array([getattr(result, field.name) for _, result in described], dtype=np.float32)
            for field in kept
        },
    )
