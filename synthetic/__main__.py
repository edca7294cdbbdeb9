"""python -m synthetic --out DIR: draw a synthetic Market-1501."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qafm.errors import InvalidSettings, QafmError
from synthetic import SIZES, Recipe, make_dataset
from synthetic.plan import shots
from synthetic.sheet import contact_sheet
from synthetic.worlds import WORLDS

SizeChoice = Enum("SizeChoice", {name: name for name in SIZES}, type=str)  # type: ignore[misc]
WorldChoice = Enum("WorldChoice", {name: name for name in WORLDS}, type=str)  # type: ignore[misc]
_DEFAULT_WORLD = WorldChoice(Recipe.world)

app = typer.Typer(add_completion=False)


def _of_size(text: str | None = None) -> Any:
    """An option that replaces one number of the size. text: its help."""
    return typer.Option(help=text, show_default="the size's")


@app.command()
def draw(
    out: Annotated[Path, typer.Option(help="Folder to write; a previous result of this command is replaced.")],
    size: Annotated[
        SizeChoice | None,  # type: ignore[valid-type]
        typer.Option(
            help="How much to draw: a little, enough to compare methods, or Market-1501's own counts. "
            "The options whose default is the size's replace single numbers of it.",
            show_default="default",
        ),
    ] = None,
    full_size: Annotated[bool, typer.Option("--full-size", help="The same as --size full.")] = False,
    world: Annotated[
        WorldChoice,  # type: ignore[valid-type]
        typer.Option(
            help="Whose cameras, places and people; train on the first alone, the others show a change of domain."
        ),
    ] = _DEFAULT_WORLD,
    seed: Annotated[int, typer.Option(help="The same world, seed and sizes give the same files.")] = Recipe.seed,
    train_identities: Annotated[int | None, _of_size()] = None,
    test_identities: Annotated[int | None, _of_size()] = None,
    images_per_identity: Annotated[
        float | None, _of_size("Mean, in training and in the gallery; queries come on top.")
    ] = None,
    cameras_per_identity: Annotated[
        float | None, _of_size("Mean, 2 to 6; in the test split each is one query.")
    ] = None,
    distractors: Annotated[int | None, _of_size("Gallery images of nobody known (0000).")] = None,
    junk: Annotated[int | None, _of_size("Gallery images that do not count (-1).")] = None,
    degraded: Annotated[
        float | None, _of_size("Fraction of the images that are blurred, coarse, noisy, dark or covered.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--contact-sheet", help="Also write a picture of some of the images, as PNG.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes to draw in; as many as cores if not given.")] = None,
) -> None:
    """Draw pedestrians in the folders and formats of Market-1501, with attributes and degradations."""
    console = Console(stderr=True)
    try:
        if sheet is not None and sheet.suffix != ".png":
            raise InvalidSettings(f"--contact-sheet: expected the name of a .png file, got {sheet}")
        recipe = _recipe(
            _size(size and size.value, full_size),
            world=world.value,
            seed=seed,
            train_identities=train_identities,
            test_identities=test_identities,
            images_per_identity=images_per_identity,
            cameras_per_identity=cameras_per_identity,
            distractors=distractors,
            junk=junk,
            degraded=degraded,
        )
        _make(recipe, out, workers, console)
        if sheet is not None:
            contact_sheet(recipe, out).save(sheet)
    except (QafmError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


def _size(size: str | None, full_size: bool) -> str:
    """The name in SIZES that the two options mean. Raises InvalidSettings where they contradict each other."""
    if full_size and size not in (None, "full"):
        raise InvalidSettings(f"--full-size means --size full, got --size {size} too: give one of the two")
    return "full" if full_size else size or "default"


def _recipe(size: str, **options: str | float | None) -> Recipe:
    """A size with the options that were given in place of its own numbers."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if "images_per_identity" in given:  # of the gallery too, whatever the size has there
        given["gallery_per_identity"] = None
    return replace(SIZES[size], **given)


def _make(recipe: Recipe, out: Path, workers: int | None, console: Console) -> None:
    """The dataset, behind a progress bar."""
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(shots(recipe)))
        make_dataset(recipe, out, workers=workers, progress=lambda done: bar.advance(task, done))


if __name__ == "__main__":
    app(prog_name="python -m synthetic")
