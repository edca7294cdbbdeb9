"""`client search`: one person in a gallery."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client import defaults
from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import FAILURES
from client.commands.options import Json

if TYPE_CHECKING:
    from client.description import Description
    from client.gallery.search import Gallery


@connected
def search_person(
    connection: Connection,
    image: Annotated[Path, typer.Argument(help="A picture of the person to look for: a JPEG, PNG, WebP or BMP file.")],
    gallery: Annotated[Path, typer.Option(help="Where to look: a folder of crops, or descriptors of them (.npz).")],
    top: Annotated[int, typer.Option(min=1, help="How many results to show.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures to this file.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="The folder in which the paths of an .npz start: the dataset's folder.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Find a person in a folder of crops, or in descriptors of them."""
    import asyncio

    from client.commands import tables
    from client.gallery.search import read_gallery, search, write_page
    from qafm.files import write_json

    kept = None if gallery.is_dir() else read_gallery(gallery, images)
    description, searched, failures = asyncio.run(_describe(connection, image, gallery, kept))
    for failure in failures:
        console.say_error(str(failure))
    nearest = search(description.descriptor, searched, top)
    console.output().print(tables.nearest(nearest))
    if json_file is not None:
        listed = [{"path": str(crop.path), "distance": crop.distance} for crop in nearest]
        write_json(json_file, {"image": str(image), "found": listed})
    if html is not None:
        write_page(html, image, nearest)
    if failures:
        console.say_error(f"left out because they could not be described: {len(failures)} image(s), named above")
        raise typer.Exit(FAILURES)


async def _describe(
    connection: Connection, image: Path, folder: Path, kept: "Gallery | None"
) -> "tuple[Description, Gallery, list[Exception]]":
    """The image, the gallery (described now, unless it was kept), and why some of its images failed."""
    from client.commands.progress import progress
    from client.gallery.search import describe_gallery

    failures: list[Exception] = []
    async with connection.client() as client:
        description = await client.describe(image)
        gallery = kept or await describe_gallery(
            client, folder, concurrency=defaults.CONCURRENCY, progress=progress, failed=failures.append
        )
    return description, gallery, failures
