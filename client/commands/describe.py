"""`client describe`: what a server says of a few images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.commands import console
from client.commands.connection import Connection, connected
from client.commands.exit_codes import FAILURES
from client.commands.options import Alpha, Ensemble, Model, alpha_for

if TYPE_CHECKING:
    from client.description import Description
    from qafm.errors import InvalidImage, RequestFailed
    from qafm.manifest import Manifest


@connected
def describe_images(
    connection: Connection,
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or BMP files, one person in each.")],
    model: Model = Ensemble.qafm,
    alpha: Alpha = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object for each image.")] = False,
) -> None:
    """Print attributes, alpha and quality of images, and what is wrong with those that are not to be trusted."""
    import asyncio
    import json

    from client.complaints import complaint
    from client.description import Description
    from qafm.errors import ContractMismatch

    alpha = alpha_for(model, alpha)

    async def described() -> "tuple[Manifest, list[tuple[Path, Description | InvalidImage | RequestFailed]]]":
        async with connection.client() as client:
            results = client.describe_many(images, alpha, ensemble=model.value, return_errors=True)
            pairs = [pair async for pair in results]
            await client.confirm_model()
            return client.manifest, pairs

    manifest, results = asyncio.run(described())
    descriptions = [(path, result) for path, result in results if isinstance(result, Description)]
    failures = [result for _, result in results if not isinstance(result, Description)]
    try:
        complaints = [complaint(description, manifest) for _, description in descriptions]
    except ContractMismatch as error:
        # The descriptions are whole without it.
        console.warn(str(error))
        complaints = [None] * len(descriptions)
    if as_json:
        content = [
            {"path": str(path), **description.summary(), "complaint": said}
            for (path, description), said in zip(descriptions, complaints, strict=True)
        ]
        print(json.dumps(content, indent=2))
    else:
        for (path, description), said in zip(descriptions, complaints, strict=True):
            _print(path, description, said)
    for failure in failures:
        console.say_error(str(failure))
    if failures:
        raise typer.Exit(FAILURES)


def _print(path: Path, description: "Description", said: str | None) -> None:
    output = console.output()
    output.print(str(path), style="bold", markup=False, soft_wrap=True)
    numbers = [f"alpha {description.alpha:.3f}"]
    if description.identifiability is not None:
        numbers.append(f"identifiability {description.identifiability:.3f} (higher is worse)")
    if description.utility is not None:
        numbers.append(f"utility {description.utility:.3f} (0.5 is ordinary)")
    output.print(f"  {'   '.join(numbers)}", soft_wrap=True)
    if said:
        output.print(f"  {said}", style="yellow")
    for attribute in description.attributes.values():
        output.print(f"  {attribute}")
