"""Evaluating a server on a dataset: describe query and gallery, rank, compare with the baseline, write a report."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from client.defaults import CONCURRENCY
from client.description import Description
from client.evaluation.ablation import ablate, write_images
from client.evaluation.baseline import describe_by_colour
from client.evaluation.dataset import EvaluationData
from client.evaluation.journal import Journal
from client.reid import ReidClient
from client.report.examples import choose_examples
from client.report.report import FailedImage, Report, now, write_report
from qafm.attributes import HeadAccuracy, head_accuracies
from qafm.datasets.crops import Crop
from qafm.errors import EvaluationFailed, InvalidDescriptors, InvalidImage, RequestFailed
from qafm.retrieval.descriptors import Descriptors, write_descriptors
from qafm.retrieval.metrics import Metrics, evaluate
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.verification import operating_points

JOURNAL_FILE = "descriptions.journal"
"""In the folder of a report, as long as there are images that the server has not answered."""
QUERIES_FILE, IMAGES_FILE = "queries.csv", "images.csv"
OnError = Literal["skip", "fail"]
Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Called with the name of the work and its number of images; gives a function to call after each image."""


@dataclass(frozen=True, eq=False)
class DescribedDataset:
    """What the server made of a dataset.

    query, gallery: the images that could be described, in order of name, paths relative to `root`.
    attributes: how well the annotated ones were told, by name. manifest: what the server says it serves.
    unanswered: how many of the failed images may succeed when they are asked for again.
    described: how many images were sent, the others were known. seconds: how long that took.
    """

    root: Path
    query: Descriptors
    gallery: Descriptors
    attributes: dict[str, HeadAccuracy]
    failed_images: tuple[FailedImage, ...]
    manifest: dict[str, Any]
    unanswered: int
    described: int
    seconds: float

    def all(self, name: str) -> NDArray[Any]:
        """One array of the query, then of the gallery."""
        return np.concatenate([side.arrays()[name] for side in (self.query, self.gallery)])

    @property
    def images_per_second(self) -> float:
        return self.described / self.seconds


async def describe_dataset(
    client: ReidClient,
    dataset: EvaluationData,
    folder: Path,
    *,
    on_error: OnError,
    concurrency: int,
    progress: Progress,
    warn: Callable[[str], None],
) -> DescribedDataset:
    """Describe every image of a dataset, but those that an interrupted call left in JOURNAL_FILE in `folder`.

    on_error: "skip" leaves an image that fails out and lists it in failed_images; "fail" raises its
    InvalidImage or RequestFailed. Raises ServerUnreachable when the server goes away for good, InvalidSettings where
    another evaluation writes into the folder. Whatever ends it, what was described stays in the journal, but for the
    few results that were ahead of a slower one; remove it once its content is somewhere else.
    """
    crops = [*dataset.query, *dataset.gallery]
    paths = [_relative(crop, dataset.root) for crop in crops]
    versions = [(path, *_version(crop.path)) for path, crop in zip(paths, crops, strict=True)]
    failed: dict[int, InvalidImage | RequestFailed] = {}
    start = time.perf_counter()
    with Journal(folder / JOURNAL_FILE, versions, client.manifest) as kept:
        if kept.replaced:
            warn(f"{kept.path}: what was there is of other images or another model, and is not used")
        known = set(kept.records()["row"].tolist())
        todo = [row for row in range(len(crops)) if row not in known]
        with progress("describe" if not known else f"describe, {len(known):,} known", len(todo)) as step:
            files = (crops[row].path for row in todo)
            async with aclosing(client.describe_many(files, concurrency=concurrency, return_errors=True)) as found:
                rows = iter(todo)
                async for result in found:
                    row = next(rows)
                    if isinstance(result, Description):
                        kept.add(row, result)
                    elif on_error == "fail":
                        raise result
                    else:
                        failed[row] = result
                    step()
        records = kept.records()
    seconds = time.perf_counter() - start
    split = len(dataset.query)
    order = np.argsort(records["row"], kind="stable")
    first = np.searchsorted(records["row"][order], split)
    query = _gather(paths, crops, records, order[:first])
    gallery = _gather(paths, crops, records, order[first:])
    return DescribedDataset(
        root=dataset.root,
        query=query,
        gallery=gallery,
        attributes=_accuracies(dataset.attributes, query, gallery),
        failed_images=tuple(
            FailedImage(paths[row], str(error).removeprefix(f"{crops[row].path}: "))
            for row, error in sorted(failed.items())
        ),
        manifest=client.manifest,
        unanswered=sum(isinstance(error, RequestFailed) for error in failed.values()),
        described=len(todo),
        seconds=seconds,
    )


async def evaluate_dataset(
    client: ReidClient,
    dataset: EvaluationData,
    folder: Path,
    *,
    on_error: OnError = "skip",
    concurrency: int = CONCURRENCY,
    rerank: bool = False,
    sweep_alpha: bool = False,
    heatmaps: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Report:
    """Evaluate a server on a dataset, and write the report into `folder`.

    Interrupted at any moment, the same call goes on with the images that are left. rerank: also the metrics after
    k-reciprocal re-ranking. sweep_alpha: also the paper's Table 4. heatmaps: pictures to show, by their images' names.
    warn: is told what a person should know before trusting the result, and of each image that failed. Raises as
    `describe_dataset` does, InvalidDescriptors where nothing can be measured, and EvaluationFailed where that is
    because images failed.
    """
    start = time.perf_counter()
    for warning in dataset.warnings:
        warn(warning)
    progress = progress or _quiet
    folder.mkdir(parents=True, exist_ok=True)
    described = await describe_dataset(
        client, dataset, folder, on_error=on_error, concurrency=concurrency, progress=progress, warn=warn
    )
    query, gallery = described.query, described.gallery
    for name in ("report.json", "report.html", QUERIES_FILE, IMAGES_FILE):
        # An earlier result must not stand beside the descriptors of this one.
        (folder / name).unlink(missing_ok=True)
    write_descriptors(folder / "query.npz", query)
    write_descriptors(folder / "gallery.npz", gallery)
    for image in described.failed_images:
        warn(f"{image.path}: {image.reason}")

    # In threads: the connection stays alive meanwhile.
    before_metrics = time.perf_counter()
    try:
        metrics = await asyncio.to_thread(evaluate, query, gallery)
    except InvalidDescriptors as error:
        if not described.failed_images:
            raise
        raise EvaluationFailed(f"there is nothing to measure, because images failed: {error}") from error
    verification = await asyncio.to_thread(operating_points, query, gallery)
    metrics_s = time.perf_counter() - before_metrics
    reranked = await asyncio.to_thread(evaluate, query, gallery, Reranking()) if rerank else None
    ablation = await ablate(client, dataset.root, query, gallery, metrics) if sweep_alpha else None
    # Half of the memory, and not needed any more.
    query, gallery = (replace(side, visual=None, semantic=None) for side in (query, gallery))
    described = replace(described, query=query, gallery=gallery)
    before_baseline = time.perf_counter()
    baseline = await asyncio.to_thread(_measure_baseline, described, progress)
    baseline_s = time.perf_counter() - before_baseline
    report = Report(
        created=now(),
        data=str(dataset.root),
        url=client.url,
        metrics=metrics,
        baseline=baseline,
        reranked=reranked,
        alpha=described.all("alpha"),
        identifiability=described.all("identifiability"),
        examples=await asyncio.to_thread(choose_examples, dataset.root, query, gallery, metrics),
        heatmaps=heatmaps or {},
        verification=verification,
        attributes=described.attributes,
        failed_images=described.failed_images,
        unanswered=described.unanswered,
        manifest=described.manifest,
        ablation=ablation,
        timings={
            "describe_s": described.seconds,
            "images_per_second": described.images_per_second,
            "metrics_s": metrics_s,
            "baseline_s": baseline_s,
            "total_s": time.perf_counter() - start,
        },
    )
    write_queries(folder / QUERIES_FILE, query, metrics)
    if ablation:
        write_images(folder / IMAGES_FILE, query, gallery, ablation)
    await asyncio.to_thread(write_report, folder, report)
    if not described.unanswered:
        (folder / JOURNAL_FILE).unlink(missing_ok=True)
    return report


@contextmanager
def _quiet(name: str, total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def _measure_baseline(described: DescribedDataset, progress: Progress) -> Metrics:
    """What colour histograms reach on the same images."""
    with progress("baseline", len(described.query) + len(described.gallery)) as step:
        return evaluate(
            describe_by_colour(described.root, described.query, step),
            describe_by_colour(described.root, described.gallery, step),
        )


def write_queries(path: Path, query: Descriptors, metrics: Metrics) -> None:
    """One line a query as CSV; without a true match it has no AP and no first match."""
    assert query.paths is not None, "described images have paths"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "pid", "camid", "ap", "first_match"])
        columns = (query.paths, query.pids, query.camids, metrics.average_precision, metrics.first_match)
        for *image, precision, first in zip(*(column.tolist() for column in columns), strict=True):
            writer.writerow([*image, f"{precision:.6g}" if first else "", first or ""])


def _accuracies(attributes: Mapping[int, NDArray[np.int8]], *sides: Descriptors) -> dict[str, HeadAccuracy]:
    """Over all images whose identity is annotated: distractors are not."""
    probabilities, labels = [], []
    for side in sides:
        assert side.attributes is not None, "descriptors straight from the server have every array"
        for pid, row in zip(side.pids.tolist(), side.attributes, strict=True):
            if pid in attributes:
                probabilities.append(row)
                labels.append(attributes[pid])
    return head_accuracies(np.stack(probabilities), np.stack(labels)) if labels else {}


def _gather(paths: Sequence[str], crops: Sequence[Crop], records: NDArray[Any], order: NDArray[np.intp]) -> Descriptors:
    """The descriptors of the records in `order`."""
    rows = records["row"][order].tolist()
    return Descriptors(
        descriptors=records["descriptor"][order],
        pids=np.array([crops[row].pid for row in rows], dtype=np.int64),
        camids=np.array([crops[row].camid for row in rows], dtype=np.int64),
        paths=np.array([paths[row] for row in rows], dtype=np.str_),
        alpha=records["alpha"][order],
        identifiability=records["identifiability"][order],
        visual=records["visual"][order],
        semantic=records["semantic"][order],
        attributes=records["attribute_probabilities"][order],
    )


def _relative(crop: Crop, root: Path) -> str:
    return crop.path.relative_to(root).as_posix()


def _version(path: Path) -> tuple[int, int]:
    """What changes with the content of a file: size and time of the last change."""
    try:
        status = path.stat()
    except OSError:  # describing it will say why
        return -1, -1
    return status.st_size, status.st_mtime_ns
