"""`client eval`: a server's metrics on a dataset."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client import defaults
from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import FAILURES
from client.commands.options import (
    Abstain,
    Against,
    Alpha,
    Concurrency,
    Ensemble,
    Heatmaps,
    Model,
    NamePattern,
    OnError,
    OnFailure,
    RequestTimeout,
    Rerank,
    Retry,
    SweepAlpha,
    Weightings,
    alpha_for,
)

if TYPE_CHECKING:
    from client.evaluation.earlier import Evaluated
    from client.report.report import Report
    from qafm.weighting import Weighting


class Split(str, Enum):
    query = "query"


@connected
def evaluate_server(
    connection: Connection,
    data: Annotated[Path, typer.Option(help="Folder of a dataset in a known layout, or a CSV file that lists one.")],
    split: Annotated[Split, typer.Option(help="Which images are searched for in the gallery.")] = Split.query,
    report: Annotated[Path, typer.Option(help="Folder for the report and the descriptors.")] = Path("report"),
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    name_pattern: NamePattern = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many queries, the first ones.")] = None,
    on_error: OnFailure = OnError.skip,
    concurrency: Concurrency = defaults.CONCURRENCY,
    request_timeout_s: RequestTimeout = defaults.REQUEST_TIMEOUT_S,
    retry_s: Retry = defaults.RETRY_S,
    rerank: Rerank = False,
    abstain: Abstain = None,
    heatmaps: Heatmaps = None,
    sweep_alpha: SweepAlpha = False,
    weighting: Weightings = None,
    against: Against = None,
) -> None:
    """Evaluate a server on a dataset, and write a report. Interrupted, the same command goes on."""
    import asyncio

    from client.commands.progress import progress
    from client.evaluate import evaluate_dataset, require_quality
    from client.evaluation.dataset import read_dataset

    # What is wrong with the input is said before any server is asked.
    alpha = alpha_for(model, alpha)
    require_quality(model.value, abstaining=abstain is not None, weightings=bool(weighting))
    dataset = read_dataset(data, limit, name_pattern)
    pictures, earlier, weightings = _read(heatmaps, against, weighting or [])

    async def evaluated() -> "Report":
        async with connection.client(request_timeout_s=request_timeout_s, retry_s=retry_s) as client:
            return await evaluate_dataset(
                client,
                dataset,
                report,
                alpha,
                ensemble=model.value,
                on_error=on_error.value,
                concurrency=concurrency,
                rerank=rerank,
                abstaining=abstain,
                sweep_alpha=sweep_alpha,
                weightings=weightings,
                heatmaps=pictures,
                against=earlier,
                progress=progress,
                warn=console.warn,
            )

    with console.interruptible(lambda: f"what was described is kept in {report}; the same command goes on"):
        _print(asyncio.run(evaluated()), report)


def _read(
    heatmaps: Path | None, against: Path | None, weightings: list[Path]
) -> "tuple[dict[str, bytes], Evaluated | None, dict[str, Weighting]]":
    """What the options name."""
    from client.evaluation.earlier import read_evaluated
    from client.report.report import read_heatmaps
    from qafm.weighting import load_weighting

    pictures = read_heatmaps(heatmaps) if heatmaps else {}
    earlier = read_evaluated(against) if against else None
    return pictures, earlier, {str(path): load_weighting(path) for path in weightings}


def _print(result: "Report", folder: Path) -> None:
    """The tables, and the images that failed; those end the command with FAILURES."""
    from client.commands import tables

    output, measured = console.output(), result.measured
    output.print(
        tables.metrics(
            {
                "QAFM": measured.metrics,
                "Re-ranked": measured.reranked,
                **tables.abstained(measured.abstained),
                "Colour histogram": result.baseline,
            },
            measured.intervals,
        )
    )
    if measured.verification:
        output.print(tables.verification(measured.verification))
    if measured.discard:
        output.print(tables.discard(measured.discard))
    if result.attributes:
        output.print(tables.attributes(result.attributes))
    if result.ablation:
        output.print(*tables.ablation(result.ablation))
        output.print(tables.correlations(result.ablation), soft_wrap=True)
    output.print(
        f"{tables.counts(result.metrics)}, {result.timings['images_per_second']:.1f} images/s. "
        f"Model: {result.model}. Report: {folder / 'report.html'}",
        soft_wrap=True,
        markup=False,
    )
    if failed := len(result.failed_images):
        again = "; the same command tries only these again" if result.unanswered else ""
        console.say_error(
            f"left out of the result because they could not be described: {failed} image(s), named above{again}"
        )
        raise typer.Exit(FAILURES)
