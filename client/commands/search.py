"""`client search`: one person in a gallery."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client import defaults
from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import FAILURES
from client.commands.options import (
    Alpha,
    Ensemble,
    Json,
    Model,
    NamePattern,
    NoCache,
    alpha_for,
    kept_after_interruption,
    writable,
)

if TYPE_CHECKING:
    from client.description import Description
    from client.gallery.files import GalleryImages
    from client.gallery.search import Gallery


@connected
def search_person(
    connection: Connection,
    image: Annotated[Path, typer.Argument(help="A picture of the person to look for: a JPEG, PNG, WebP or BMP file.")],
    gallery: Annotated[Path, typer.Option(help="Where to look: a folder of crops, or descriptors of them (.npz).")],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    top: Annotated[int, typer.Option(min=1, help="How many results to show.")] = 10,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the pictures to this file.", callback=writable)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="The folder in which the paths of an .npz start: the dataset's folder.")
    ] = None,
    name_pattern: NamePattern = None,
    no_cache: NoCache = False,
    json_file: Json = None,
) -> None:
    """Find a person in a folder of crops, or in descriptors of them. Crops that were described before are not sent."""
    import asyncio

    from client.commands import tables
    from client.gallery.files import list_gallery
    from client.gallery.search import read_gallery, search, write_page
    from qafm.files import write_json

    # What is wrong with the input is said before any server is asked.
    alpha = alpha_for(model, alpha)
    if name_pattern is not None and not gallery.is_dir():
        raise typer.BadParameter(
            f"{gallery} is no folder; a pattern reads the names in one", param_hint="--name-pattern"
        )
    where = list_gallery(gallery, name_pattern) if gallery.is_dir() else read_gallery(gallery, images)
    with console.interruptible(lambda: kept_after_interruption(no_cache)):
        description, searched, failures = asyncio.run(_describe(connection, image, where, alpha, model.value, no_cache))
    for failure in failures:
        console.say_error(str(failure))
    nearest = search(description.descriptor, searched, top, description.model)
    console.output().print(tables.nearest(nearest))
    if json_file is not None:
        listed = [
            {"path": str(match.path), "distance": match.distance} | ({"person": match.person} if match.person else {})
            for match in nearest
        ]
        write_json(json_file, {"image": str(image), "model": description.model, "found": listed})
    if html is not None:
        write_page(html, image, nearest, description.model, gallery if gallery.is_dir() else images or Path())
    if failures:
        console.say_error(f"left out because they could not be described: {len(failures)} image(s), named above")
        raise typer.Exit(FAILURES)


async def _describe(
    connection: Connection,
    image: Path,
    where: "GalleryImages | Gallery",
    alpha: float | None,
    ensemble: str,
    no_cache: bool,
) -> "tuple[Description, Gallery, list[Exception]]":
    """The image, the gallery (described now, unless it was kept), and why some of its images failed."""
    from client.commands.progress import progress
    from client.gallery.cache import Cache
    from client.gallery.describing import model_asked
    from client.gallery.files import GalleryImages
    from client.gallery.search import describe_gallery, require_same_model

    failures: list[Exception] = []
    async with connection.client() as client:
        if not isinstance(where, GalleryImages):
            require_same_model(client, where, alpha, ensemble=ensemble)
        description = await client.describe(image, alpha, ensemble=ensemble)
        if isinstance(where, GalleryImages):
            if where.warning:
                console.warn(where.warning)
            where = await describe_gallery(
                client,
                where,
                alpha,
                ensemble=ensemble,
                cache=None if no_cache else Cache(model_asked(client, alpha, ensemble)),
                concurrency=defaults.CONCURRENCY,
                progress=progress,
                failed=failures.append,
                warn=console.warn,
            )
        await client.confirm_model()
    return description, where, failures
