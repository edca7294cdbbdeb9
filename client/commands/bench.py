"""`client bench`: a server under load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.options import Alpha, Ensemble, Json, Model, alpha_for

if TYPE_CHECKING:
    from qafm.manifest import Manifest


@connected
def measure_load(
    connection: Connection,
    data: Annotated[Path, typer.Option(help="Folder of a dataset in a known layout: its queries are sent.")],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight: a number, or FIRST:LAST or FIRST:LAST:STEP.")
    ] = "1:4",
    images: Annotated[int, typer.Option(min=1, help="How many different queries to send, in turn.")] = 64,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long one measurement takes. It is repeated until three agree.")
    ] = 10.0,
    stability: Annotated[
        float,
        typer.Option(min=0, help="Per cent by which those three may differ. A noisy machine needs more."),
    ] = 10.0,
    json_file: Json = None,
) -> None:
    """Measure a server's throughput and latency under load.

    perf_analyzer sends the requests. The time in each model is measured too.
    """
    import asyncio

    from client.commands import tables
    from client.load import FIXED_ALPHA, find_perf_analyzer, load_test
    from qafm.datasets.layouts import open_dataset
    from qafm.errors import ModelChanged
    from qafm.files import write_json

    if not connection.open_to_perf_analyzer:
        raise typer.BadParameter(
            "perf_analyzer is not told of TLS or headers; measure beside the server", param_hint="bench"
        )
    in_flight = _parse_range(concurrency)
    alpha = alpha_for(model, alpha, FIXED_ALPHA)
    perf_analyzer = find_perf_analyzer()
    queries = open_dataset(data).split("query")
    sent = [crop.path.read_bytes() for crop in queries[:: max(1, len(queries) // images)][:images]]
    manifest = asyncio.run(_manifest(connection, model.value))
    with console.errors().status(f"perf_analyzer: {model.value}, {concurrency} in flight"):
        loads = load_test(
            connection.url,
            model.value,
            sent,
            alpha=FIXED_ALPHA if alpha is None else alpha,
            concurrency=in_flight,
            seconds=seconds,
            stability=stability,
            perf_analyzer=perf_analyzer,
        )
    if asyncio.run(_manifest(connection, model.value)).fingerprints != manifest.fingerprints:
        raise ModelChanged(f"the server at {connection.url} has come back with another model; measure again")
    if json_file is not None:
        result = {"ensemble": model.value, "model": manifest.model(model.value, alpha), "images": len(sent)}
        loads_json = {"loads": [load.summary() for load in loads], "manifest": dict(manifest.content)}
        write_json(json_file, {**result, **loads_json})
    for table in tables.loads(model.value, loads):
        console.output().print(table)


async def _manifest(connection: Connection, ensemble: str) -> "Manifest":
    """What the server says it serves, once it is ready and its models are those of the contract, the ensemble too."""
    async with connection.client() as client:
        client.outputs(ensemble)
        return client.manifest


def _parse_range(text: str) -> tuple[int, int, int]:
    """First, last and step of "4", "1:4" or "1:8:2". Raises typer.BadParameter."""
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
