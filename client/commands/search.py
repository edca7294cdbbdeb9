"""`client search`: one person in a gallery."""

from dataclasses import dataclass
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
    from client.gallery.search import Found, Gallery


TOP = 10


@connected
def search_person(
    connection: Connection,
    image: Annotated[Path, typer.Argument(help="A picture of the person to look for: a JPEG, PNG, WebP or BMP file.")],
    gallery: Annotated[Path, typer.Option(help="Where to look: a folder of crops, or descriptors of them (.npz).")],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many results to show. [default: 10, or all up to --threshold]")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the pictures to this file.", callback=writable)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="The folder in which the paths of an .npz start: the dataset's folder.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="Only up to this distance: `client score` and a report say what it accepts."),
    ] = None,
    name_pattern: NamePattern = None,
    no_cache: NoCache = False,
    json_file: Json = None,
) -> None:
    """Find a person in a folder of crops, or in descriptors of them. Crops that were described before are not sent."""
    import asyncio

    from client.gallery.files import list_gallery
    from client.gallery.search import read_gallery, search
    from client.page import now

    # What is wrong with the input is said before any server is asked.
    alpha = alpha_for(model, alpha)
    if name_pattern is not None and not gallery.is_dir():
        raise typer.BadParameter(
            f"{gallery} is no folder; a pattern reads the names in one", param_hint="--name-pattern"
        )
    where = list_gallery(gallery, name_pattern) if gallery.is_dir() else read_gallery(gallery, images)
    with console.interruptible(lambda: kept_after_interruption(no_cache)):
        asked = asyncio.run(_ask(connection, image, where, alpha, model.value, no_cache))
    for failure in asked.failures:
        console.say_error(str(failure))
    model_name = asked.description.model
    most = top or (TOP if threshold is None else None)
    nearest = search(asked.description.descriptor, asked.searched, most, model_name, threshold)
    _print(nearest, threshold)
    if json_file is not None:
        _write_json(json_file, image, model_name, nearest, threshold)
    if html is not None:
        from client.gallery.page import write_page

        within = gallery if gallery.is_dir() else images or Path()
        write_page(html, image, nearest, model_name, within, created=now(), about=asked.about, threshold=threshold)
    if asked.failures:
        count = len(asked.failures)
        console.say_error(f"left out because they could not be described: {count} image(s), named above")
        raise typer.Exit(FAILURES)


@dataclass(frozen=True)
class _Asked:
    """The image; the gallery (described now, unless it was kept), and why some of its images failed; and what a person
    should know of the image."""

    description: "Description"
    searched: "Gallery"
    failures: "list[Exception]"
    about: list[str]


async def _ask(
    connection: Connection,
    image: Path,
    where: "GalleryImages | Gallery",
    alpha: float | None,
    ensemble: str,
    no_cache: bool,
) -> _Asked:
    from client.commands.progress import progress
    from client.gallery.cache import Cache
    from client.gallery.describing import model_asked
    from client.gallery.files import GalleryImages
    from client.gallery.search import describe_gallery, require_same_model
    from client.quality import rating

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
        rated = rating(description, client.manifest)
    about = [f"quality: {rated}"] if rated else []
    return _Asked(description, where, failures, [*about, *map(str, description.attributes.values())])


def _print(nearest: "list[Found]", threshold: float | None) -> None:
    from client.commands import tables

    if nearest:
        console.output().print(tables.nearest(nearest))
    else:
        console.output().print(f"Nobody up to a distance of {threshold:g}.")


def _write_json(path: Path, image: Path, model: str | None, nearest: "list[Found]", threshold: float | None) -> None:
    from qafm.files import write_json

    found = [
        {"path": str(match.path), "distance": match.distance} | ({"person": match.person} if match.person else {})
        for match in nearest
    ]
    limit = {} if threshold is None else {"threshold": threshold}
    write_json(path, {"image": str(image), "model": model, **limit, "found": found})
