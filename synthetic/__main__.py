"""python -m synthetic --out DIR: draw a synthetic Market-1501."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qafm.errors import InvalidSettings, QafmError
from synthetic import FULL_SIZE, Recipe, make_dataset
from synthetic.plan import shots
from synthetic.sheet import contact_sheet

_DEFAULT = Recipe()


app = typer.Typer(add_completion=False)


@app.command()
def draw(
    out: Annotated[Path, typer.Option(help="Folder to write; a previous result of this command is replaced.")],
    seed: Annotated[int, typer.Option(help="The same seed and sizes give the same files.")] = _DEFAULT.seed,
    train_identities: Annotated[int, typer.Option()] = _DEFAULT.train_identities,
    test_identities: Annotated[int, typer.Option()] = _DEFAULT.test_identities,
    images_per_identity: Annotated[
        float, typer.Option(help="Mean, in training and in the gallery; queries come on top.")
    ] = _DEFAULT.images_per_identity,
    cameras_per_identity: Annotated[
        float, typer.Option(help="Mean, 2 to 6; in the test split each is one query.")
    ] = _DEFAULT.cameras_per_identity,
    distractors: Annotated[int, typer.Option(help="Gallery images of nobody known (0000).")] = _DEFAULT.distractors,
    junk: Annotated[int, typer.Option(help="Gallery images that do not count (-1).")] = _DEFAULT.junk,
    degraded: Annotated[
        float, typer.Option(help="Fraction of the images that are blurred, coarse, noisy, dark or covered.")
    ] = _DEFAULT.degraded,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Market-1501's own counts; the size options are not used.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", help="Also write a picture of some of the images, as PNG."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes to draw in; as many as cores if not given.")] = None,
) -> None:
    """Draw pedestrians in the folders and formats of Market-1501, with attributes and degradations."""
    console = Console(stderr=True)
    try:
        if sheet is not None and sheet.suffix != ".png":
            raise InvalidSettings(f"--contact-sheet: expected the name of a .png file, got {sheet}")
        if full_size:
            recipe = replace(FULL_SIZE, seed=seed, degraded=degraded)
        else:
            recipe = Recipe(
                seed=seed,
                train_identities=train_identities,
                test_identities=test_identities,
                images_per_identity=images_per_identity,
                cameras_per_identity=cameras_per_identity,
                distractors=distractors,
                junk=junk,
                degraded=degraded,
            )
        with Progress(
            TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as bar:
            task = bar.add_task("", total=len(shots(recipe)))
            make_dataset(recipe, out, workers=workers, progress=lambda done: bar.advance(task, done))
        if sheet is not None:
            contact_sheet(recipe, out).save(sheet)
    except (QafmError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app(prog_name="python -m synthetic")
