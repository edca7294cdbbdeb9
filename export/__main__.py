"""`python -m export RUN`: from a finished run to a model repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from export.precision import parse_precisions
from qafm.errors import ExportRefused, QafmError

# PyTorch and ONNX take seconds to load: what needs them is imported where the work begins, and not for `--help`.


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run (`python -m train`).", show_default=False)],
    repository: Annotated[
        Path, typer.Option(help="Folder for the model repository; an earlier one is replaced.")
    ] = Path("build/model_repository"),
    best: Annotated[
        bool, typer.Option("--best", help="The joint stage's epoch with the best validation mAP, not its last.")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Both branches see each picture and its mirror image, and give the mean.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 (for GPUs) or int8; then exceptions by model, as in int8,apan=fp16.")
    ] = "fp32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="The run's training data, to check what quality tells, and for fp16 and int8; where it was at the "
            "training, if not given."
        ),
    ] = None,
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Write int8 graphs for TensorRT too, which takes another dialect of it.")
    ] = False,
) -> None:
    """Export a trained run to ONNX, check it against PyTorch, and install it as a Triton model repository."""
    console = Console()
    try:
        precisions = parse_precisions(precision)
        from export.run import export_run

        export_run(
            *(run, repository),
            best=best,
            flip=flip,
            precisions=precisions,
            data=data,
            tensorrt=tensorrt,
            console=console,
        )
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1 if isinstance(error, ExportRefused) else 2)
    console.print(f"[green]installed[/] {repository}; next: python -m server", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
