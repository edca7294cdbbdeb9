"""Evaluating a server on a dataset: describe query and gallery, rank, compare with the baseline, write a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from client.defaults import CONCURRENCY
from client.ensembles import ensemble_for, require_two_branches
from client.evaluation.ablation import Ablation, ablate, require_served_inputs
from client.evaluation.baseline import describe_by_colour
from client.evaluation.confirmed import OnError
from client.evaluation.dataset import EvaluationData, read_dataset
from client.evaluation.describing import DescribedDataset, describe_dataset
from client.evaluation.earlier import Changes, Evaluated, compare_evaluations
from client.evaluation.folder import REPORT_FILE, report_folder
from client.evaluation.lists import IMAGES_FILE, QUERIES_FILE, query_rows, write_images, write_queries
from client.evaluation.measures import Measured, measure
from client.page import now
from client.progress import Progress, quiet
from client.reid import ReidClient
from client.report.examples import choose_examples
from client.report.report import Report
from client.report.write import PAGE_FILE, write_report
from qafm.contract import IDENTIFIABILITY, MODELS, QAFM, QAFM_FAST, SCATTER
from qafm.datasets.degradations import Degradation
from qafm.errors import EvaluationFailed, InvalidDescriptors, InvalidSettings
from qafm.files import whole_file
from qafm.retrieval.abstention import require_fraction
from qafm.retrieval.descriptors import save_descriptors
from qafm.retrieval.metrics import Metrics, evaluate
from qafm.weighting import Weighting


async def evaluate_dataset(
    client: ReidClient,
    data: EvaluationData | Path,
    folder: Path,
    alpha: float | None = None,
    *,
    ensemble: str = QAFM,
    on_error: OnError = "skip",
    concurrency: int = CONCURRENCY,
    rerank: bool = False,
    abstaining: float | None = None,
    sweep_alpha: bool = False,
    weightings: Mapping[str, Weighting] | None = None,
    heatmaps: Mapping[str, bytes] | None = None,
    against: Evaluated | None = None,
    progress: Progress = quiet,
    warn: Callable[[str], None] = lambda message: None,
) -> Report:
    """Evaluate a server on a dataset, and write the report and the descriptors into `folder`.

    data: what `client.evaluation.dataset.read_dataset` gives, or the folder of a dataset. After an interruption the
    same call goes on with the images that are left. alpha, ensemble: as `ReidClient.describe` takes them. rerank: also
    the metrics after k-reciprocal re-ranking. abstaining: also those without this share of the queries, those of the
    worst quality. sweep_alpha: also the paper's Table 4; weightings: with a row for each of these, by name. heatmaps:
    pictures to show, by their images' names. against: an earlier evaluation of the same queries, to compare with. warn:
    is told what a person should know before trusting the result, and of each image that failed. Raises as
    `describe_dataset` does; InvalidDataset, InvalidSettings and InvalidDescriptors for what is wrong with the data, the
    options or `folder`; EvaluationFailed where nothing can be measured because images failed.
    """
    start = time.perf_counter()
    ensemble = ensemble_for(alpha, ensemble)
    _require(client, ensemble, abstaining, weightings or {}, sweep_alpha=sweep_alpha)
    dataset = read_dataset(data) if isinstance(data, Path) else data
    for warning in (*dataset.warnings, *_doubts(ensemble, weightings or {})):
        warn(warning)
    # Before anything is described: what it says is needed when all is.
    recorded = dataset.degradations() if sweep_alpha or weightings else None
    with report_folder(folder, dataset.identity, dataset.root):
        described = await describe_dataset(
            client,
            dataset,
            folder,
            alpha,
            ensemble=ensemble,
            on_error=on_error,
            concurrency=concurrency,
            progress=progress,
            warn=warn,
        )
        measured = await _measured(described, dataset, rerank, abstaining, recorded)
        swept = (client, recorded, described.query, described.gallery, measured.metrics, concurrency, weightings)
        ablation = await ablate(*swept) if sweep_alpha or weightings else None
        await client.confirm_model()
        _write_descriptors(folder, described)
        # Half of the memory, and not needed any more.
        described = described.without_vectors()
        changes = _compared(folder, described, measured, against, warn) if against else None
        report = await _report(client, dataset, described, measured, changes, ablation, heatmaps or {}, progress, start)
        await asyncio.to_thread(_write, folder, described, report)
    return report


def require_quality(ensemble: str, *, abstaining: bool, weightings: bool) -> None:
    """Raises InvalidSettings where what is asked for reads the quality of images, and the ensemble gives none."""
    reading = {"--abstain": abstaining, "--weighting": weightings}
    asked = " and ".join(option for option, given in reading.items() if given)
    if asked and IDENTIFIABILITY not in MODELS[ensemble].outputs:
        raise InvalidSettings(
            f"{ensemble} computes no quality of an image, which {asked} would read; ask {QAFM}, or leave that away"
        )


def _require(
    client: ReidClient,
    ensemble: str,
    abstaining: float | None,
    weightings: Mapping[str, Weighting],
    *,
    sweep_alpha: bool,
) -> None:
    """What can be known to be wrong before anything is sent or written. Raises as `evaluate_dataset` does."""
    outputs = client.outputs(ensemble)
    if sweep_alpha or weightings:
        require_two_branches(outputs, client.url)
    require_quality(ensemble, abstaining=abstaining is not None, weightings=bool(weightings))
    require_served_inputs(weightings, scatter=SCATTER.name in outputs)
    if abstaining is not None:
        require_fraction(abstaining)


def _doubts(ensemble: str, weightings: Mapping[str, Weighting]) -> Iterator[str]:
    if weightings and ensemble == QAFM_FAST:
        yield f"the weightings read what {ensemble} estimates of Q and SCATTER; {QAFM} measures them, by 35 views"


def _write_descriptors(folder: Path, described: DescribedDataset) -> None:
    with whole_file(folder / "query.npz") as query, whole_file(folder / "gallery.npz") as gallery:
        for file, side in ((query, described.query), (gallery, described.gallery)):
            save_descriptors(file, side)
            file.flush()
        # There was room for the new ones: an earlier result must not stand beside them.
        for name in (REPORT_FILE, PAGE_FILE, QUERIES_FILE, IMAGES_FILE):
            (folder / name).unlink(missing_ok=True)


def _write(folder: Path, described: DescribedDataset, report: Report) -> None:
    """All but the descriptors; then the journal has done its work, unless some images are to be tried again."""
    write_queries(folder / QUERIES_FILE, report.queries)
    if report.ablation:
        write_images(folder / IMAGES_FILE, described.query, described.gallery, report.ablation)
    write_report(folder, report)
    if not described.unanswered:
        described.journal.remove()


async def _report(
    client: ReidClient,
    dataset: EvaluationData,
    described: DescribedDataset,
    measured: Measured,
    changes: Changes | None,
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
        measured=measured,
        baseline=baseline,
        against=changes,
        queries=query_rows(query, measured.metrics),
        alpha=described.all("alpha"),
        identifiability=described.all("identifiability"),
        examples=await asyncio.to_thread(choose_examples, dataset.root, query, gallery, measured.metrics),
        heatmaps=heatmaps,
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


async def _measured(
    described: DescribedDataset,
    dataset: EvaluationData,
    rerank: bool,
    abstaining: float | None,
    recorded: Mapping[str, Degradation] | None,
) -> Measured:
    """In a thread: the connection stays alive meanwhile."""
    work = partial(measure, rerank=rerank, abstaining=abstaining, recorded=recorded)
    try:
        return await asyncio.to_thread(work, described.query, described.gallery, dataset.attributes)
    except InvalidDescriptors as error:
        if not described.failed_images:
            raise
        raise EvaluationFailed(f"there is nothing to measure, because images failed: {error}") from error


def _compared(
    folder: Path, described: DescribedDataset, measured: Measured, against: Evaluated, warn: Callable[[str], None]
) -> Changes | None:
    """None, and a warning, where the two are not of the same queries: nothing else of the result depends on it."""
    after = Evaluated.of(str(folder), described.model, now(), measured.metrics, described.query)
    try:
        changes = compare_evaluations(after, against)
        if changes.warning:
            warn(changes.warning)
        return changes
    except InvalidDescriptors as error:
        warn(f"not compared with {against.name}: {error}")
        return None


def _measure_baseline(described: DescribedDataset, progress: Progress) -> Metrics:
    """What colour histograms reach on the same images."""
    with progress("baseline", len(described.query) + len(described.gallery)) as step:
        return evaluate(
            describe_by_colour(described.root, described.query, step),
            describe_by_colour(described.root, described.gallery, step),
        )
