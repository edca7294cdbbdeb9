"""The `client` command.

Exit codes: 0 done; 1 a result with failures in it, or the first failure under --on-error fail; 2 wrong usage,
bad input or a server with other models; 3 no server reachable.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client import defaults
from client.report import METRIC_LABELS, Report, now, read_heatmaps, reranked_summary, write_report
from qafm.contract import QAFM, QAFM_FIXED_ALPHA
from qafm.descriptors import RANKED_FIELDS, read_descriptors, write_descriptors
from qafm.errors import (
    ContractMismatch,
    InvalidDataset,
    InvalidDescriptors,
    InvalidImage,
    QafmError,
    RequestFailed,
    ServerUnreachable,
)
from qafm.metrics import PROTOCOL, Metrics, evaluate
from qafm.reranking import Reranking
from qafm.verification import OperatingPoint, operating_points

if TYPE_CHECKING:
    from client.ablation import Ablation
    from client.description import Description
    from client.evaluation import DescribedDataset, OnError
    from client.load import Load
    from client.reid import ReidClient
    from client.search import Gallery
    from qafm.attributes import HeadAccuracy

# gRPC is imported by the commands that talk to a server: `client score` starts at once.

FAILURES, BAD_INPUT, UNREACHABLE = 1, 2, 3

_EXIT_CODES: dict[type[QafmError], int] = {
    InvalidImage: FAILURES,
    RequestFailed: FAILURES,
    InvalidDataset: BAD_INPUT,
    InvalidDescriptors: BAD_INPUT,
    ContractMismatch: BAD_INPUT,
    ServerUnreachable: UNREACHABLE,
}

app = typer.Typer(
    help="Describe people with a QAFM server, and evaluate it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# In a file or a pipe a table has no terminal to fit.
_output = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
_errors = Console(stderr=True, highlight=False)

Url = Annotated[str, typer.Option(help="HOST:PORT of the server's gRPC endpoint.")]
ConnectTimeout = Annotated[
    float, typer.Option("--connect-timeout", min=0, help="Seconds to wait until the server is ready.")
]
Rerank = Annotated[
    bool, typer.Option("--rerank", help="Also the metrics after k-reciprocal re-ranking, which looks at all queries.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")]


class Split(str, Enum):
    query = "query"


class Ensemble(str, Enum):
    qafm = QAFM
    qafm_fixed_alpha = QAFM_FIXED_ALPHA


class OnErrorChoice(str, Enum):
    skip = "skip"
    fail = "fail"


def main() -> None:
    """Run the command, and say an error in one sentence."""
    try:
        app(prog_name="client")
    except QafmError as error:
        _say_error(str(error))
        sys.exit(_EXIT_CODES.get(type(error), BAD_INPUT))
    except OSError as error:
        _say_error(str(error))
        sys.exit(BAD_INPUT)


@app.command("eval")
def evaluate_command(
    data: Annotated[Path, typer.Option(help="Folder of a dataset in Market-1501's layout.")],
    split: Annotated[Split, typer.Option(help="What is searched for in the gallery.")] = Split.query,
    url: Url = defaults.URL,
    connect_timeout_s: ConnectTimeout = defaults.CONNECT_TIMEOUT_S,
    report: Annotated[Path, typer.Option(help="Folder for the report and the descriptors.")] = Path("report"),
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many queries.")] = None,
    on_error: Annotated[
        OnErrorChoice, typer.Option(help="Leave an image that fails out, or stop at the first one.")
    ] = OnErrorChoice.skip,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Requests in flight at once.")
    ] = defaults.CONCURRENCY,
    request_timeout_s: Annotated[
        float, typer.Option("--request-timeout", min=0, help="Seconds to wait for the answer to one request.")
    ] = defaults.REQUEST_TIMEOUT_S,
    retry_s: Annotated[
        float, typer.Option("--retry", min=0, help="Seconds to try again while the server is away.")
    ] = defaults.RETRY_S,
    rerank: Rerank = False,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder of `python -m export.heatmaps`, to show in the report.")
    ] = None,
    sweep_alpha: Annotated[
        bool, typer.Option("--sweep-alpha", help="Also the paper's Table 4: each branch alone, and α fixed.")
    ] = False,
) -> None:
    """Evaluate a server on the queries and the gallery of a dataset, and write a report.

    Interrupted at any moment, the same command goes on with the images that are left.
    """
    from client.evaluation import JOURNAL_FILE, measure_baseline
    from client.progress import progress

    start = time.perf_counter()
    # Before the hours of describing.
    pictures = read_heatmaps(heatmaps) if heatmaps else {}
    connect = partial(
        _connect, url, connect_timeout_s=connect_timeout_s, request_timeout_s=request_timeout_s, retry_s=retry_s
    )
    described = asyncio.run(_describe_dataset(connect, data, report, limit, on_error.value, concurrency))
    for name in ("report.json", "report.html"):
        # An earlier result must not stand beside the descriptors of this one.
        (report / name).unlink(missing_ok=True)
    write_descriptors(report / "query.npz", described.query)
    write_descriptors(report / "gallery.npz", described.gallery)
    for image in described.failed_images:
        _say_error(f"{image.path}: {image.reason}")

    before_metrics = time.perf_counter()
    try:
        metrics = evaluate(described.query, described.gallery)
    except InvalidDescriptors as error:
        if not described.failed_images:
            raise
        _say_error(f"there is nothing to measure, because images failed: {error}")
        raise typer.Exit(FAILURES) from error
    verification = operating_points(described.query, described.gallery)
    reranked = evaluate(described.query, described.gallery, Reranking()) if rerank else None
    metrics_s = time.perf_counter() - before_metrics
    ablation = asyncio.run(_sweep_alpha(connect, data, described)) if sweep_alpha else None
    before_baseline = time.perf_counter()
    baseline = measure_baseline(described, lambda name, total: progress(_errors, name, total))
    ended = time.perf_counter()
    result = Report(
        created=now(),
        data=str(data),
        url=url,
        metrics=metrics,
        baseline=baseline,
        reranked=reranked,
        alpha=described.all("alpha"),
        identifiability=described.all("identifiability"),
        heatmaps=pictures,
        verification=verification,
        attributes=described.attributes,
        failed_images=described.failed_images,
        manifest=described.manifest,
        ablation=ablation,
        timings={
            "describe_s": described.seconds,
            "images_per_second": described.images_per_second,
            "metrics_s": metrics_s,
            "baseline_s": ended - before_baseline,
            "total_s": ended - start,
        },
    )
    write_report(report, result)
    if not described.unanswered:
        (report / JOURNAL_FILE).unlink(missing_ok=True)
    _output.print(_metrics_table({"QAFM": metrics, "Re-ranked": reranked, "Colour histogram": baseline}))
    _print_verification(verification)
    if described.attributes:
        _output.print(_attributes_table(described.attributes))
    if ablation:
        from client.ablation import write_images

        write_images(report / "images.csv", ablation)
        _print_ablation(ablation)
    _output.print(
        f"{_counts(metrics)}, {described.images_per_second:.1f} images/s. Report: {report / 'report.html'}",
        soft_wrap=True,
    )
    if failed := len(described.failed_images):
        again = (
            "; the same command tries only those again that the server did not answer" if described.unanswered else ""
        )
        _say_error(f"left out of the result because they could not be described: {failed} image(s), named above{again}")
        raise typer.Exit(FAILURES)


@app.command()
def describe(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or BMP files, one person each.")],
    url: Url = defaults.URL,
    connect_timeout_s: ConnectTimeout = defaults.CONNECT_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object for each image.")] = False,
) -> None:
    """Print attributes, alpha and identifiability of images."""
    from client.description import Description

    results = asyncio.run(_describe_images(images, url, connect_timeout_s))
    found = [(path, result) for path, result in zip(images, results, strict=True) if isinstance(result, Description)]
    if as_json:
        print(json.dumps([{"path": str(path), **description.summary()} for path, description in found], indent=2))
    else:
        for path, description in found:
            _print_description(path, description)
    failed = [result for result in results if not isinstance(result, Description)]
    for error in failed:
        _say_error(str(error))
    if failed:
        raise typer.Exit(FAILURES)


@app.command("search")
def search_command(
    image: Annotated[Path, typer.Argument(help="The person to look for: a JPEG, PNG, WebP or BMP file.")],
    gallery: Annotated[Path, typer.Option(help="A folder of crops, or descriptors of them (.npz).")],
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="What the paths in an .npz are relative to: the dataset's folder.")
    ] = None,
    url: Url = defaults.URL,
    connect_timeout_s: ConnectTimeout = defaults.CONNECT_TIMEOUT_S,
    json_file: Json = None,
) -> None:
    """Find a person in a folder of crops, or in descriptors of them."""
    from client.search import read_gallery, search, write_page

    kept = None if gallery.is_dir() else read_gallery(gallery, images)
    description, found, failed = asyncio.run(_describe_search(image, gallery, kept, url, connect_timeout_s))
    matches = search(description.descriptor, found, top)
    table = Table()
    for name, justify in (("", "right"), ("Distance", "right"), ("Image", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for rank, match in enumerate(matches, start=1):
        table.add_row(str(rank), f"{match.distance:.3f}", escape(str(match.path)))
    _output.print(table)
    if json_file is not None:
        listed = [{"path": str(match.path), "distance": match.distance} for match in matches]
        json_file.write_text(json.dumps({"image": str(image), "matches": listed}, indent=2) + "\n")
    if html is not None:
        write_page(html, image, matches)
    if failed:
        _say_error(f"left out because they could not be described: {failed} image(s), named above")
        raise typer.Exit(FAILURES)


@app.command()
def score(
    query: Annotated[Path, typer.Argument(help="Descriptors of the queries (.npz).")],
    gallery: Annotated[Path, typer.Argument(help="Descriptors of the gallery (.npz).")],
    rerank: Rerank = False,
    json_file: Json = None,
) -> None:
    """Rank a gallery of descriptors for every query and print the metrics. Needs no server."""
    searched, among = (read_descriptors(path, RANKED_FIELDS) for path in (query, gallery))
    metrics, verification = evaluate(searched, among), operating_points(searched, among)
    reranked = evaluate(searched, among, Reranking()) if rerank else None
    if json_file is not None:
        found = {
            **metrics.summary(),
            **reranked_summary(reranked),
            "verification": list(map(asdict, verification)),
            "protocol": PROTOCOL,
        }
        json_file.write_text(json.dumps(found, indent=2) + "\n")
    _output.print(_metrics_table({"%": metrics, "Re-ranked": reranked}))
    _print_verification(verification)
    _output.print(_counts(metrics))


@app.command("bench")
def bench_command(
    data: Annotated[Path, typer.Option(help="Folder of a dataset in Market-1501's layout: its queries are sent.")],
    url: Url = defaults.URL,
    connect_timeout_s: ConnectTimeout = defaults.CONNECT_TIMEOUT_S,
    model: Annotated[Ensemble, typer.Option(help="The ensemble to measure.")] = Ensemble.qafm,
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight: a number, or FIRST:LAST or FIRST:LAST:STEP.")
    ] = "1:4",
    images: Annotated[int, typer.Option(min=1, help="How many different queries to send, in turn.")] = 64,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Of one measurement; they are repeated until three agree.")
    ] = 10.0,
    stability: Annotated[
        float, typer.Option(min=0, help="Per cent within which three measurements must agree; more on a noisy machine.")
    ] = 10.0,
    json_file: Json = None,
) -> None:
    """Measure a server under load with perf_analyzer: throughput, latency, and where the time goes."""
    from client.load import find_perf_analyzer, load_test
    from qafm.market1501 import list_split

    in_flight = _parse_range(concurrency)
    perf_analyzer = find_perf_analyzer()
    queries = list_split(data, "query")
    sent = [crop.path.read_bytes() for crop in queries[:: max(1, len(queries) // images)][:images]]
    manifest = asyncio.run(_manifest(url, connect_timeout_s))
    with _errors.status(f"perf_analyzer: {model.value}, {concurrency} in flight"):
        loads = load_test(
            url,
            model.value,
            sent,
            concurrency=in_flight,
            seconds=seconds,
            stability=stability,
            perf_analyzer=perf_analyzer,
        )
    if json_file is not None:
        result = {"model": model.value, "images": len(sent), "loads": [load.summary() for load in loads]}
        json_file.write_text(json.dumps({**result, "manifest": manifest}, indent=2) + "\n")
    _print_loads(model.value, loads)


def _connect(url: str, **timeouts_s: float) -> ReidClient:
    from client.reid import ReidClient

    return ReidClient(url, **timeouts_s)


async def _describe_dataset(
    connect: Callable[[], ReidClient],
    data: Path,
    report: Path,
    limit: int | None,
    on_error: OnError,
    concurrency: int,
) -> DescribedDataset:
    from client.evaluation import describe_dataset, read_dataset
    from client.progress import progress

    dataset = read_dataset(data, limit)
    for warning in dataset.warnings:
        _warn(warning)
    report.mkdir(parents=True, exist_ok=True)
    async with connect() as client:
        return await describe_dataset(
            client,
            dataset,
            report,
            on_error=on_error,
            concurrency=concurrency,
            progress=lambda name, total: progress(_errors, name, total),
            warn=_warn,
        )


async def _manifest(url: str, connect_timeout_s: float) -> dict[str, Any]:
    """What a server says it serves, once it is ready and its models are those of the contract."""
    async with _connect(url, connect_timeout_s=connect_timeout_s) as client:
        return client.manifest


async def _sweep_alpha(connect: Callable[[], ReidClient], data: Path, described: DescribedDataset) -> Ablation:
    from client.ablation import sweep_alpha

    async with connect() as client:
        return await sweep_alpha(client, data, described.query, described.gallery)


async def _describe_search(
    image: Path, folder: Path, kept: Gallery | None, url: str, connect_timeout_s: float
) -> tuple[Description, Gallery, int]:
    """The image, the gallery, described unless it was kept, and how many of its images failed."""
    from client.progress import progress
    from client.search import describe_gallery

    failures: list[Exception] = []
    async with _connect(url, connect_timeout_s=connect_timeout_s) as client:
        description = await client.describe(image)
        gallery = kept or await describe_gallery(
            client,
            folder,
            concurrency=defaults.CONCURRENCY,
            progress=lambda name, total: progress(_errors, name, total),
            failed=failures.append,
        )
    for failure in failures:
        _say_error(str(failure))
    return description, gallery, len(failures)


async def _describe_images(
    images: list[Path], url: str, connect_timeout_s: float
) -> list[Description | InvalidImage | RequestFailed]:
    async with _connect(url, connect_timeout_s=connect_timeout_s) as client:
        return [result async for result in client.describe_many(images, return_errors=True)]


def _parse_range(text: str) -> tuple[int, int, int]:
    """First, last and step of "4", "1:4" or "1:8:2"."""
    try:
        numbers = [int(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) == 2:
        numbers.append(1)
    if len(numbers) != 3 or not 1 <= numbers[0] <= numbers[1] or numbers[2] < 1:
        raise typer.BadParameter(
            f"expected a number from 1, or FIRST:LAST or FIRST:LAST:STEP, got {text!r}", param_hint="--concurrency"
        )
    return numbers[0], numbers[1], numbers[2]


def _print_loads(model: str, loads: list[Load]) -> None:
    """Throughput and latency at each concurrency, and the time in each composing model at the best of them."""
    table = Table(title=f"{model} under load")
    for name in ("In flight", "images/s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for load in loads:
        latencies = (f"{value:.0f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
        table.add_row(str(load.concurrency), f"{load.images_per_second:.2f}", *latencies)
    _output.print(table)
    best = max(loads, key=lambda load: load.images_per_second)
    table = Table(title=f"A request in each model, {best.concurrency} in flight")
    table.add_column("")
    for name in ("queue ms", "compute ms"):
        table.add_column(name, justify="right")
    for name, time_in in best.models.items():
        table.add_row(name, f"{time_in.queue_ms:.1f}", f"{time_in.compute_ms:.1f}")
    _output.print(table)


def _metrics_table(columns: dict[str, Metrics | None]) -> Table:
    """The headline metrics in per cent, a column for each that there is."""
    known = {name: metrics for name, metrics in columns.items() if metrics}
    table = Table()
    table.add_column("Metric")
    for name in known:
        table.add_column(name, justify="right")
    for name, label in METRIC_LABELS.items():
        table.add_row(label, *(f"{100 * getattr(metrics, name):.2f}" for metrics in known.values()))
    return table


def _print_verification(points: list[OperatingPoint]) -> None:
    """What one threshold for all pairs accepts, where there are enough pairs to say."""
    if not points:
        return
    table = Table(title="One threshold for all pairs")
    for name in ("False positives", "True positives %", "Distance"):
        table.add_column(name, justify="right")
    for point in points:
        table.add_row(
            f"{point.false_positive_rate:g}", f"{100 * point.true_positive_rate:.2f}", f"{point.threshold:.4f}"
        )
    _output.print(table)


def _attributes_table(attributes: dict[str, HeadAccuracy]) -> Table:
    """How often each attribute is told right, in per cent, beside what its most frequent value would reach."""
    table = Table(title="Attributes")
    table.add_column("")
    for name in ("Accuracy", "Most frequent", "Images"):
        table.add_column(name, justify="right")
    for name, head in attributes.items():
        table.add_row(name, f"{100 * head.accuracy:.1f}", f"{100 * head.majority:.1f}", f"{head.images:,}")
    return table


def _print_ablation(ablation: Ablation) -> None:
    """The paper's Table 4, with a column for each level of degradation where that is recorded."""
    levels = ablation.degradation.queries if ablation.degradation else {}
    table = Table(title="α and the branches (the paper's Table 4)")
    table.add_column("", no_wrap=True)
    for name in ("α", "paper's α", "Rank-1", "Rank-5", "mAP"):
        table.add_column(name, justify="right")
    for name, count in levels.items():
        table.add_column(f"mAP, {name} ({count})", justify="right")
    for row in ablation.rows:
        summary = row.summary()
        weights = ("" if summary[name] is None else f"{summary[name]:.1f}" for name in ("alpha", "paper_alpha"))
        precision = ablation.degradation.rows[row.name] if ablation.degradation else {}
        fractions = [summary[name] for name in ("rank1", "rank5", "mAP")] + [precision.get(name) for name in levels]
        table.add_row(row.name, *weights, *("" if value is None else f"{100 * value:.2f}" for value in fractions))
    _output.print(table)
    correlations = {"r(Q, α)": ablation.q_alpha_r}
    if ablation.degradation:
        correlations["r(Q, strength)"] = ablation.degradation.q_strength_r
    _output.print(
        f"α from {ablation.alpha_min:.3f} to {ablation.alpha_max:.3f}, mean {ablation.alpha_mean:.3f}, "
        f"sd {ablation.alpha_sd:.4f}; "
        + ", ".join(f"{name} = {'none' if r is None else format(r, '+.3f')}" for name, r in correlations.items()),
        soft_wrap=True,
    )


def _counts(metrics: Metrics) -> str:
    skipped = f" ({metrics.skipped_queries:,} without a true match left out)" if metrics.skipped_queries else ""
    return f"{metrics.queries:,} queries{skipped}, {metrics.gallery:,} gallery images"


def _print_description(path: Path, description: Description) -> None:
    _output.print(str(path), style="bold", markup=False, soft_wrap=True)
    _output.print(
        f"  alpha {description.alpha:.3f}   identifiability {description.identifiability:.3f} (higher is worse)"
    )
    for attribute in description.attributes.values():
        _output.print(f"  {attribute}")


def _warn(message: str) -> None:
    _errors.print(f"client: warning: {message}", style="yellow", markup=False, soft_wrap=True)


def _say_error(message: str) -> None:
    _errors.print(f"client: {message}", style="red", markup=False, soft_wrap=True)
