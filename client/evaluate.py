"""Evaluating a server on a dataset: describe query and gallery, rank, compare with the baseline, write a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.defaults import CONCURRENCY
from client.evaluation.ablation import Ablation, ablate, known, require_served_inputs
from client.evaluation.baseline import describe_by_colour
from client.evaluation.dataset import EvaluationData, read_dataset
from client.evaluation.describing import DescribedDataset, OnError, describe_dataset
from client.evaluation.folder import REPORT_FILE, report_folder
from client.evaluation.lists import IMAGES_FILE, QUERIES_FILE, write_images, write_queries
from client.progress import Progress, quiet
from client.reid import ReidClient
from client.report.examples import choose_examples
from client.report.report import Report, now
from client.report.write import PAGE_FILE, write_report
from qafm.contract import SCATTER
from qafm.datasets.degradations import Degradation
from qafm.errors import EvaluationFailed, InvalidDescriptors
from qafm.files import whole_file
from qafm.retrieval.abstention import Abstention, abstain, require_fraction
from qafm.retrieval.bootstrap import Interval
from qafm.retrieval.comparison import intervals
from qafm.retrieval.descriptors import Descriptors, save_descriptors
from qafm.retrieval.discard import DiscardCurve, discard_curves
from qafm.retrieval.metrics import Metrics, evaluate
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.verification import OperatingPoint, operating_points
from qafm.weighting import Weighting


async def evaluate_dataset(
    client: ReidClient,
    data: EvaluationData | Path,
    folder: Path,
    *,
    on_error: OnError = "skip",
    concurrency: int = CONCURRENCY,
    rerank: bool = False,
    abstaining: float | None = None,
    sweep_alpha: bool = False,
    weightings: Mapping[str, Weighting] | None = None,
    heatmaps: Mapping[str, bytes] | None = None,
    progress: Progress = quiet,
    warn: Callable[[str], None] = lambda message: None,
) -> Report:
    """Evaluate a server on a dataset, and write the report and the descriptors into `folder`.

    data: what `client.evaluation.dataset.read_dataset` gives, or the folder of a dataset. After an interruption the
    same call goes on with the images that are left. rerank: also the metrics after k-reciprocal re-ranking.
    abstaining: also those without this share of the queries, those of the worst quality. sweep_alpha: also the
    paper's Table 4; weightings: with a row for each of these, by name. heatmaps: pictures to show, by their images'
    names. warn: is told what a person should know before trusting the result, and of each image that failed.
    Raises as `describe_dataset` does, InvalidDataset where `data` is not valid, InvalidSettings for another share than
    `qafm.retrieval.abstention` takes or a weighting that cannot do with what the server says, where another evaluation
    writes into `folder` or a report of another dataset is there, InvalidDescriptors where nothing can be measured, and
    EvaluationFailed where that is because images failed.
    """
    start = time.perf_counter()
    if abstaining is not None:
        require_fraction(abstaining)
    require_served_inputs(weightings or {}, scatter=SCATTER.name not in client.lacks)
    dataset = read_dataset(data) if isinstance(data, Path) else data
    for warning in dataset.warnings:
        warn(warning)
    # Before anything is described: what it says is needed when all is.
    sweep_alpha = sweep_alpha or bool(weightings)
    recorded = dataset.degradations() if sweep_alpha else None
    with report_folder(folder, dataset.identity, dataset.root):
        described = await describe_dataset(
            client, dataset, folder, on_error=on_error, concurrency=concurrency, progress=progress, warn=warn
        )
        for image in described.failed_images:
            warn(f"{image.path}: {image.reason}")
        measured = await _measure(described, rerank, abstaining, recorded)
        ablation = None
        if sweep_alpha:
            sides = described.query, described.gallery
            ablation = await ablate(client, recorded, *sides, measured.metrics, concurrency, weightings)
        await client.confirm_model()
        _write_descriptors(folder, described)
        # Half of the memory, and not needed any more.
        described = described.without_vectors()
        report = await _report(client, dataset, described, measured, ablation, heatmaps or {}, progress, start)
        write_queries(folder / QUERIES_FILE, described.query, measured.metrics)
        if ablation:
            write_images(folder / IMAGES_FILE, described.query, described.gallery, ablation)
        await asyncio.to_thread(write_report, folder, report)
        if not described.unanswered:
            described.journal.remove()
    return report


@dataclass(frozen=True, eq=False)
class _Measured:
    metrics: Metrics
    intervals: dict[str, Interval]
    verification: list[OperatingPoint]
    reranked: Metrics | None
    abstained: Abstention | None
    discard: dict[str, DiscardCurve]
    seconds: float
    """Of the first three."""


async def _measure(
    described: DescribedDataset, rerank: bool, abstaining: float | None, recorded: Mapping[str, Degradation] | None
) -> _Measured:
    # In threads: the connection stays alive meanwhile.
    start = time.perf_counter()
    query, gallery = described.query, described.gallery
    try:
        metrics = await asyncio.to_thread(evaluate, query, gallery)
    except InvalidDescriptors as error:
        if not described.failed_images:
            raise
        raise EvaluationFailed(f"there is nothing to measure, because images failed: {error}") from error
    ends = await asyncio.to_thread(intervals, metrics, query.pids)
    verification = await asyncio.to_thread(operating_points, query, gallery)
    seconds = time.perf_counter() - start
    reranked = await asyncio.to_thread(evaluate, query, gallery, Reranking()) if rerank else None
    abstained = None if abstaining is None else await asyncio.to_thread(abstain, query, gallery, abstaining)
    # The truth, where it is recorded, is a signal that no other can beat by more than chance.
    truth = {"recorded strength": _strength(query, recorded)} if recorded else None
    discard = await asyncio.to_thread(discard_curves, query, metrics, truth)
    return _Measured(metrics, ends, verification, reranked, abstained, discard, seconds)


def _strength(side: Descriptors, recorded: Mapping[str, Degradation]) -> NDArray[np.float64]:
    """How good the images are by what is recorded to be wrong with them: minus its strength, float64 [N]."""
    return np.array([-recorded[path].strength for path in known(side.paths).tolist()])


def _write_descriptors(folder: Path, described: DescribedDataset) -> None:
    with whole_file(folder / "query.npz") as query, whole_file(folder / "gallery.npz") as gallery:
        for file, side in ((query, described.query), (gallery, described.gallery)):
            save_descriptors(file, side)
            file.flush()
        # There was room for the new ones: an earlier result must not stand beside them.
        for name in (REPORT_FILE, PAGE_FILE, QUERIES_FILE, IMAGES_FILE):
            (folder / name).unlink(missing_ok=True)


async def _report(
    client: ReidClient,
    dataset: EvaluationData,
    described: DescribedDataset,
    measured: _Measured,
    ablation: Ablation | None,
    heatmaps: Mapping[str, bytes],
    progress: Progress,
    start: float,
) -> Report:
    query, gallery = described.query, described.gallery
    before_baseline = time.perf_counter()
    baseline = await asyncio.to_thread(_measure_baseline, described, progress)
    baseline_s = time.perf_counter() - before_baseline
    return Report(
        created=now(),
        data=str(dataset.root),
        dataset=dataset.identity,
        url=client.url,
        model=described.model,
        metrics=measured.metrics,
        intervals=measured.intervals,
        baseline=baseline,
        reranked=measured.reranked,
        abstained=measured.abstained,
        discard=measured.discard,
        alpha=described.all("alpha"),
        identifiability=described.all("identifiability"),
        examples=await asyncio.to_thread(choose_examples, dataset.root, query, gallery, measured.metrics),
        heatmaps=heatmaps,
        verification=measured.verification,
        attributes=described.attributes,
        failed_images=described.failed_images,
        unanswered=described.unanswered,
        manifest=described.manifest,
        lacks=client.lacks,
        ablation=ablation,
        timings={
            "describe_s": described.seconds,
            "images_per_second": described.images_per_second,
            "metrics_s": measured.seconds,
            "baseline_s": baseline_s,
            "total_s": time.perf_counter() - start,
        },
    )


def _measure_baseline(described: DescribedDataset, progress: Progress) -> Metrics:
    """What colour histograms reach on the same images."""
    with progress("baseline", len(described.query) + len(described.gallery)) as step:
        return evaluate(
            describe_by_colour(described.root, described.query, step),
            describe_by_colour(described.root, described.gallery, step),
        )
