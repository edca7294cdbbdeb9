"""From the images of a dataset to their descriptors, with a journal that survives interruptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.ensembles import ensemble_for
from client.evaluation.confirmed import OnError, Unconfirmed, keep
from client.evaluation.dataset import EvaluationData
from client.evaluation.journal import Journal, Records, key_of, other_journals
from client.progress import Progress
from client.reid import ReidClient
from qafm.attribute_metrics import HeadMetrics, head_metrics
from qafm.contract import ALPHA, QAFM
from qafm.datasets.crops import Crop
from qafm.errors import RequestFailed
from qafm.manifest import Manifest
from qafm.record import RECORD
from qafm.retrieval.descriptors import Descriptors, of_both


@dataclass(frozen=True)
class FailedImage:
    """An image that could not be described. `path` is relative to the dataset's folder."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class DescribedDataset:
    """What the server made of a dataset.

    query, gallery: the images that could be described, in order of name, paths relative to `root`.
    attributes: how well annotated ones were predicted, by name. manifest: what the server says it serves. model: the
    name of what described. unanswered: how many of the failed images may succeed when they are sent again. described:
    how many images were sent; the others were in the journal already. seconds: how long that took. journal: where all
    of it is kept, to be removed once it is written elsewhere.
    """

    root: Path
    query: Descriptors
    gallery: Descriptors
    attributes: dict[str, HeadMetrics]
    failed_images: tuple[FailedImage, ...]
    manifest: Manifest
    model: str
    unanswered: int
    described: int
    seconds: float
    journal: Journal

    def all(self, name: str) -> NDArray[Any] | None:
        """One array of the query, then of the gallery; None where the ensemble does not give it."""
        return of_both(self.query, self.gallery, name)

    def without_vectors(self) -> DescribedDataset:
        """The same without the branches' vectors, which are half of its memory."""
        query, gallery = (replace(side, visual=None, semantic=None) for side in (self.query, self.gallery))
        return replace(self, query=query, gallery=gallery)

    @property
    def images_per_second(self) -> float:
        return self.described / self.seconds


async def describe_dataset(
    client: ReidClient,
    dataset: EvaluationData,
    folder: Path,
    alpha: float | None = None,
    *,
    ensemble: str = QAFM,
    on_error: OnError,
    concurrency: int,
    progress: Progress,
    warn: Callable[[str], None],
) -> DescribedDataset:
    """Describe every image of a dataset, except those whose descriptions an interrupted call left in `folder`.

    alpha, ensemble: as `ReidClient.describe` takes them. on_error: "skip" leaves an image that fails out, lists it in
    failed_images and tells `warn`; "fail" raises its InvalidImage or RequestFailed. Raises ServerUnreachable when the
    server goes away for good, ModelChanged when it comes back with another model, ContractMismatch for an ensemble that
    it lacks, InvalidSettings where the journal is of another dataset. Whatever ends the call, all descriptions but the
    last few stay in the journal.
    """
    names, start = dataset.names, time.perf_counter()
    keys = [key_of(name, crop.path) for name, crop in zip(names, dataset.crops, strict=True)]
    ensemble = ensemble_for(alpha, ensemble)
    outputs, model = client.outputs(ensemble), client.manifest.model(ensemble, alpha)
    outputs = outputs if alpha is None else (*outputs, ALPHA.name)
    with Journal(folder, model, dataset.identity, outputs) as journal:
        for other in other_journals(folder, journal):
            warn(f"{other}: was left by another model or an earlier version; it is not read, and may be deleted")
        known = set(journal.records(keys).rows.tolist())
        todo = [row for row in range(len(keys)) if row not in known]
        files = (dataset.crops[row].path for row in todo)
        results = client.describe_many(files, alpha, ensemble=ensemble, concurrency=concurrency, return_errors=True)
        with progress(f"describe, {len(known):,} known" if known else "describe", len(todo)) as step:
            failed = await keep(results, todo, keys, Unconfirmed(client, journal), on_error, step)
        records = journal.records(keys)
    seconds = time.perf_counter() - start
    first_of_gallery = int(np.searchsorted(records.rows, len(dataset.query)))
    query, gallery = (
        _gather(names, dataset.crops, records, part, model)
        for part in (slice(0, first_of_gallery), slice(first_of_gallery, None))
    )
    failed_images = tuple(
        FailedImage(names[row], str(error).removeprefix(f"{dataset.crops[row].path}: "))
        for row, error in sorted(failed.items())
    )
    for image in failed_images:
        warn(f"{image.path}: {image.reason}")
    return DescribedDataset(
        root=dataset.root,
        query=query,
        gallery=gallery,
        attributes=_attribute_metrics(dataset.attributes, query, gallery),
        failed_images=failed_images,
        manifest=client.manifest,
        model=model,
        unanswered=sum(isinstance(error, RequestFailed) for error in failed.values()),
        described=len(todo),
        seconds=seconds,
        journal=journal,
    )


def _attribute_metrics(attributes: Mapping[int, NDArray[np.int8]], *sides: Descriptors) -> dict[str, HeadMetrics]:
    """Over all images whose identity is annotated: distractors are not."""
    probabilities, labels, pids = [], [], []
    for side in sides:
        if side.attributes is None:  # of a model without
            continue
        for pid, row in zip(side.pids.tolist(), side.attributes, strict=True):
            if pid in attributes:
                probabilities.append(row)
                labels.append(attributes[pid])
                pids.append(pid)
    return head_metrics(np.stack(probabilities), np.stack(labels), np.array(pids)) if labels else {}


def _gather(names: Sequence[str], crops: Sequence[Crop], records: Records, part: slice, model: str) -> Descriptors:
    """The descriptors of a part of the records."""
    rows, places = records.rows[part].tolist(), records.places[part]
    kept = records.kept.dtype.names or ()
    return Descriptors(
        pids=np.array([crops[row].pid for row in rows], dtype=np.int64),
        camids=np.array([crops[row].camid for row in rows], dtype=np.int64),
        paths=np.array([names[row] for row in rows], dtype=np.str_),
        model=model,
        **{field.array: records.kept[field.name][places] for field in RECORD if field.name in kept},
    )
