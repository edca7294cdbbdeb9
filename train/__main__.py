"""`python -m train`: from a dataset to a run that can be exported."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from qafm.errors import InvalidSettings, QafmError, TrainingFailed
from train import presets
from train.presets import check_settings, load_preset, preset_names
from train.settings import QUALITY, STAGES, WEIGHTING, Settings

# PyTorch takes seconds to load: what needs it is imported where the work begins, and not for `--help`.

StageChoice = Enum("StageChoice", {name: name for name in (*STAGES, WEIGHTING, QUALITY)}, type=str)  # type: ignore[misc]


def main(
    data: Annotated[Path, typer.Option(help="Folder of a dataset in a known layout.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the run.", show_default=False)],
    preset: Annotated[
        str | None,
        typer.Option(help=f"Settings to train with: {', '.join(preset_names())}, or a .yaml file.", show_default=False),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Fine-tune this finished run on other people, by its own settings if no --preset."),
    ] = None,
    refit: Annotated[
        Path | None,
        typer.Option(help="Train the branches of this finished run again, on its held-out people too."),
    ] = None,
    stage: Annotated[StageChoice | None, typer.Option(help="Only this stage.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was interrupted.")] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            help='First weights of the trunks: "imagenet", "imagenet-v2", "none" or a file.',
            show_default="the preset's",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", show_default="the preset's")] = None,
    without_attributes: Annotated[
        bool, typer.Option("--without-attributes", help="Train on appearance alone, for data without attributes.")
    ] = False,
) -> None:
    """Train the image-quality network, the two branches and their fusion on a dataset.

    Attributes of people (gender, clothes, bags ...) are read from DIR/attributes.csv or market_attribute.mat.

    On several GPUs: torchrun --nproc-per-node N -m train ...
    """
    # torchrun numbers its processes: one of them speaks.
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    try:
        settings = _settings(preset, start, refit, {"weights": weights, "seed": seed})
        if without_attributes:
            if refit:
                raise InvalidSettings("a refit has the settings of its run: give --refit without --without-attributes")
            settings = presets.without_attributes(settings)
        from train.pipeline import train

        train(settings, data, out, stage=stage and stage.value, resume=resume, console=console)
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1 if isinstance(error, TrainingFailed) else 2)
    console.print(f"[green]done[/]: {out}; next: python -m export {out}", soft_wrap=True)


def _settings(preset: str | None, start: Path | None, refit: Path | None, given: dict[str, Any]) -> Settings:
    """What the options ask for together. Raises InvalidSettings, InvalidCheckpoint."""
    given = {name: value for name, value in given.items() if value is not None}
    if refit:
        if preset or start or given:
            raise InvalidSettings(
                "a refit has the settings of its run: give --refit without --preset, --from, --weights and --seed"
            )
        from train.checkpoint import load_run_settings

        return load_run_settings(refit).model_copy(update={"refits": str(refit.resolve())})
    if start:
        if "weights" in given:
            raise InvalidSettings("--from takes the weights of a run: give it without --weights")
        # Its trunks are the pretrained ones now.
        given |= {"fine_tunes": str(start.resolve()), "weights": "none", "refits": None}
        if not preset:
            from train.checkpoint import load_run_settings

            return check_settings(load_run_settings(start).model_dump() | given, str(start))
    if not preset:
        raise InvalidSettings("nothing says how to train: expected --preset, --from or --refit")
    return load_preset(preset, **given)


if __name__ == "__main__":
    typer.run(main)
