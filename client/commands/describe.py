"""`client describe`: what a server says of a few images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import BAD_INPUT, FAILURES
from client.commands.options import Alpha, Ensemble, Model, alpha_for, writable
from qafm.datasets.crops import IMAGE_SUFFIXES
from qafm.errors import InvalidImage, InvalidSettings

if TYPE_CHECKING:
    from client.description import Description
    from client.quality import Rating
    from qafm.manifest import Manifest

LINES = Path("-")
"""Of --json: standard output, an object a line."""


@connected
def describe_images(
    connection: Connection,
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or BMP files, one person in each.")],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Also write a JSON list to this file; with - print JSON alone, one object a line, as they come.",
            callback=lambda path: path if path == LINES else _no_picture(writable(path)),
        ),
    ] = None,
) -> None:
    """Print attributes, alpha and quality of images as they are described, and what is wrong with those that are not to
    be trusted."""
    import asyncio
    import json

    from client.description import Description
    from qafm.files import write_json

    alpha = alpha_for(model, alpha)
    lines = json_file == LINES
    described: list[dict[str, Any]] = []
    failures: list[Exception] = []

    async def describe() -> None:
        async with connection.client() as client:
            about = _About(client.manifest)
            async for path, result in client.describe_many(images, alpha, ensemble=model.value, return_errors=True):
                if not isinstance(result, Description):
                    console.say_error(str(result))
                    failures.append(result)
                    continue
                rated, complaint = about(result)
                content = {
                    "path": str(path),
                    **result.summary(),
                    "quality": rated and rated.word,
                    "complaint": complaint,
                }
                described.append(content)
                if lines:
                    print(json.dumps(content), flush=True)
                else:
                    _print(path, result, rated, complaint)
            await client.confirm_model()

    with console.interruptible(lambda: f"{len(described)} of {len(images)} images were described"):
        asyncio.run(describe())
    if json_file is not None and not lines:
        write_json(json_file, described)
    if failures:
        unreadable = not described and all(isinstance(failure, InvalidImage) for failure in failures)
        raise typer.Exit(BAD_INPUT if unreadable else FAILURES)


def _no_picture(path: Path | None) -> Path | None:
    """What --json is followed by is written to: it was a flag once, and a picture stood there."""
    if path is not None and path.suffix.lower() in IMAGE_SUFFIXES:
        raise InvalidSettings(f"{path}: is a picture, and --json writes a file; name another, or - to print")
    return path


class _About:
    """What a person is told of pictures. What the manifest does not tell is said once."""

    def __init__(self, manifest: "Manifest") -> None:
        self._manifest = manifest
        self._broken = False

    def __call__(self, description: "Description") -> "tuple[Rating | None, str | None]":
        from client.quality import complaint, rating
        from qafm.errors import ContractMismatch

        rated = rating(description, self._manifest)
        try:
            return rated, None if self._broken else complaint(description, self._manifest)
        except ContractMismatch as error:
            # The description is whole without it.
            console.warn(str(error))
            self._broken = True
            return rated, None


def _print(path: Path, description: "Description", rated: "Rating | None", complaint: str | None) -> None:
    output = console.output()
    output.print(str(path), style="bold", markup=False, soft_wrap=True)
    if rated:
        output.print(f"  quality: {rated}", soft_wrap=True)
    if complaint:
        output.print(f"  {complaint}", style="yellow")
    for attribute in description.attributes.values():
        output.print(f"  {attribute}")
    output.print(f"  alpha: {description.alpha:.3f}")
