"""The `client` command.

Exit codes: 0 done; 1 a result with failures in it, or the first failure under --on-error fail; 2 wrong usage,
bad input or a server with other models; 3 no server reachable.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from client import defaults
from client.commands import tables
from client.report.report import read_heatmaps, reranked_summary
from qafm.contract import QAFM, QAFM_FIXED_ALPHA
from qafm.errors import (
    ContractMismatch,
    EvaluationFailed,
    InvalidDataset,
    InvalidDescriptors,
    InvalidImage,
    QafmError,
    RequestFailed,
    ServerUnreachable,
)
from qafm.retrieval.descriptors import RANKED_FIELDS, read_descriptors
from qafm.retrieval.metrics import PROTOCOL, evaluate
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.verification import operating_points

if TYPE_CHECKING:
    from client.description import Description
    from client.gallery.search import Gallery
    from client.reid import ReidClient
    from client.report.report import Report

# gRPC is imported by the commands that talk to a server: `client score` starts at once.

FAILURES, BAD_INPUT, UNREACHABLE = 1, 2, 3

_EXIT_CODES: dict[type[QafmError], int] = {
    InvalidImage: FAILURES,
    RequestFailed: FAILURES,
    EvaluationFailed: FAILURES,
    InvalidDataset: BAD_INPUT,
    InvalidDescriptors: BAD_INPUT,
    ContractMismatch: BAD_INPUT,
    ServerUnreachable: UNREACHABLE,
}

app = typer.Typer(
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


@dataclass(frozen=True)
class _Access:
    """How to reach a server that does not take everyone: what is said before the name of a command."""

    tls: bool = False
    ca_certificate: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)


@app.callback()
def access(
    context: typer.Context,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, and trust the authorities that gRPC knows.")] = False,
    ca_certificate: Annotated[
        Path | None, typer.Option(help="Encrypt, and trust who this PEM file says.", exists=True, dir_okay=False)
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="This client's own certificate, PEM.", exists=True, dir_okay=False)
    ] = None,
    private_key: Annotated[Path | None, typer.Option(help="The key to it, PEM.", exists=True, dir_okay=False)] = None,
    header: Annotated[
        list[str], typer.Option(help="NAME: VALUE, sent with every request; may stand several times.")
    ] = [],  # noqa: B006, typer reads it and no one writes it
) -> None:
    """Describe people with a QAFM server, and evaluate it."""
    named = [entry.partition(":") for entry in header]
    if wrong := [entry for entry, (name, colon, _) in zip(header, named, strict=True) if not (name.strip() and colon)]:
        raise typer.BadParameter(f"expected NAME: VALUE, got {wrong[0]!r}", param_hint="--header")
    headers = {name.strip(): value.strip() for name, _, value in named}
    context.obj = _Access(tls, ca_certificate, certificate, private_key, headers)


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
    context: typer.Context,
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
    from client.commands.progress import progress
    from client.evaluation.dataset import read_dataset
    from client.evaluation.evaluate import evaluate_dataset

    # What is wrong with the input is said before any server is asked.
    dataset = read_dataset(data, limit)
    pictures = read_heatmaps(heatmaps) if heatmaps else {}

    async def run() -> Report:
        async with _connect(
            context.obj, url, connect_timeout_s=connect_timeout_s, request_timeout_s=request_timeout_s, retry_s=retry_s
        ) as client:
            return await evaluate_dataset(
                client,
                dataset,
                report,
                on_error=on_error.value,
                concurrency=concurrency,
                rerank=rerank,
                sweep_alpha=sweep_alpha,
                heatmaps=pictures,
                progress=lambda name, total: progress(_errors, name, total),
                warn=_warn,
            )

    result = asyncio.run(run())
    _output.print(
        tables.metrics({"QAFM": result.metrics, "Re-ranked": result.reranked, "Colour histogram": result.baseline})
    )
    if result.verification:
        _output.print(tables.verification(result.verification))
    if result.attributes:
        _output.print(tables.attributes(result.attributes))
    if result.ablation:
        _output.print(tables.ablation(result.ablation))
        _output.print(tables.correlations(result.ablation), soft_wrap=True)
    _output.print(
        f"{tables.counts(result.metrics)}, {result.timings['images_per_second']:.1f} images/s. "
        f"Report: {report / 'report.html'}",
        soft_wrap=True,
        markup=False,
    )
    if failed := len(result.failed_images):
        again = "; the same command tries only these again" if result.unanswered else ""
        _say_error(f"left out of the result because they could not be described: {failed} image(s), named above{again}")
        raise typer.Exit(FAILURES)


@app.command()
def describe(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or BMP files, one person each.")],
    url: Url = defaults.URL,
    connect_timeout_s: ConnectTimeout = defaults.CONNECT_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object for each image.")] = False,
) -> None:
    """Print attributes, alpha and identifiability of images."""
    from client.description import Description

    results = asyncio.run(_describe_images(context.obj, images, url, connect_timeout_s))
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
    context: typer.Context,
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
    from client.gallery.search import read_gallery, search, write_page

    kept = None if gallery.is_dir() else read_gallery(gallery, images)
    description, found, failed = asyncio.run(
        _describe_search(context.obj, image, gallery, kept, url, connect_timeout_s)
    )
    nearest = search(description.descriptor, found, top)
    _output.print(tables.found(nearest))
    if json_file is not None:
        listed = [{"path": str(one.path), "distance": one.distance} for one in nearest]
        json_file.write_text(json.dumps({"image": str(image), "found": listed}, indent=2) + "\n")
    if html is not None:
        write_page(html, image, nearest)
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
    _output.print(tables.metrics({"%": metrics, "Re-ranked": reranked}))
    if verification:
        _output.print(tables.verification(verification))
    _output.print(tables.counts(metrics))


@app.command("bench")
def bench_command(
    context: typer.Context,
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
    from qafm.datasets.market1501 import list_split

    if context.obj != _Access():
        raise typer.BadParameter(
            "perf_analyzer is not told of TLS or headers; measure beside the server", param_hint="bench"
        )
    in_flight = _parse_range(concurrency)
    perf_analyzer = find_perf_analyzer()
    queries = list_split(data, "query")
    sent = [crop.path.read_bytes() for crop in queries[:: max(1, len(queries) // images)][:images]]
    manifest = asyncio.run(_manifest(context.obj, url, connect_timeout_s))
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
    for table in tables.loads(model.value, loads):
        _output.print(table)


def _connect(
    access: _Access,
    url: str,
    *,
    connect_timeout_s: float,
    request_timeout_s: float = defaults.REQUEST_TIMEOUT_S,
    retry_s: float = defaults.RETRY_S,
) -> ReidClient:
    from client.reid import ReidClient
    from client.transport import Tls

    files = {
        "root_certificates": access.ca_certificate,
        "private_key": access.private_key,
        "certificate_chain": access.certificate,
    }
    return ReidClient(
        url,
        connect_timeout_s=connect_timeout_s,
        request_timeout_s=request_timeout_s,
        retry_s=retry_s,
        tls=Tls(**files) if access.tls or any(files.values()) else None,
        headers=access.headers,
    )


async def _manifest(access: _Access, url: str, connect_timeout_s: float) -> dict[str, Any]:
    """What a server says it serves, once it is ready and its models are those of the contract."""
    async with _connect(access, url, connect_timeout_s=connect_timeout_s) as client:
        return client.manifest


async def _describe_search(
    access: _Access, image: Path, folder: Path, kept: Gallery | None, url: str, connect_timeout_s: float
) -> tuple[Description, Gallery, int]:
    """The image, the gallery, described unless it was kept, and how many of its images failed."""
    from client.commands.progress import progress
    from client.gallery.search import describe_gallery

    failures: list[Exception] = []
    async with _connect(access, url, connect_timeout_s=connect_timeout_s) as client:
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
    access: _Access, images: list[Path], url: str, connect_timeout_s: float
) -> list[Description | InvalidImage | RequestFailed]:
    async with _connect(access, url, connect_timeout_s=connect_timeout_s) as client:
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
