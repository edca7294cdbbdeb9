"""`client embed`: the descriptors of a folder of pictures, in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client import defaults
from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import FAILURES
from client.commands.options import (
    Alpha,
    Concurrency,
    Ensemble,
    Model,
    NamePattern,
    NoCache,
    OnError,
    OnFailure,
    RequestTimeout,
    Retry,
    alpha_for,
    kept_after_interruption,
    writable,
)

if TYPE_CHECKING:
    from client.reid import Result
    from qafm.retrieval.descriptors import Descriptors


@connected
def embed_folder(
    connection: Connection,
    folder: Annotated[Path, typer.Argument(help="A folder with pictures of people, at any depth.")],
    out: Annotated[Path, typer.Option(help="The file for the descriptors (.npz).", callback=writable)],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    name_pattern: NamePattern = None,
    on_error: OnFailure = OnError.skip,
    concurrency: Concurrency = defaults.CONCURRENCY,
    request_timeout_s: RequestTimeout = defaults.REQUEST_TIMEOUT_S,
    retry_s: Retry = defaults.RETRY_S,
    no_cache: NoCache = False,
) -> None:
    """Write descriptors of a folder's pictures. Interrupted, the same command goes on; what is known is not sent."""
    import asyncio

    from client.commands.progress import progress
    from client.description import Description
    from client.gallery.cache import Cache
    from client.gallery.describing import describe_files, embedded, model_asked
    from client.gallery.files import list_gallery
    from qafm.retrieval.descriptors import write_descriptors

    alpha = alpha_for(model, alpha)
    listed = list_gallery(folder, name_pattern)
    if listed.warning:
        console.warn(listed.warning)

    async def described() -> "tuple[list[Result], Descriptors]":
        async with connection.client(request_timeout_s=request_timeout_s, retry_s=retry_s) as client:
            name = model_asked(client, alpha, model.value)
            results = await describe_files(
                client,
                listed.paths,
                alpha,
                ensemble=model.value,
                cache=None if no_cache else Cache(name),
                on_error=on_error.value,
                concurrency=concurrency,
                progress=progress,
                warn=console.warn,
            )
            return results, embedded(listed.crops, results, folder, name)

    with console.interruptible(lambda: kept_after_interruption(no_cache)):
        results, descriptors = asyncio.run(described())
    write_descriptors(out, descriptors)
    failures = [result for result in results if not isinstance(result, Description)]
    for failure in failures:
        console.say_error(str(failure))
    console.output().print(
        f"{len(descriptors):,} images, descriptors of {descriptors.descriptors.shape[1]} numbers. "
        f"Model: {descriptors.model}. File: {out}",
        soft_wrap=True,
        markup=False,
    )
    if failures:
        console.say_error(f"left out because they could not be described: {len(failures)} image(s), named above")
        raise typer.Exit(FAILURES)
