"""`python -m export RUN`: from a finished run to a model repository."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.repository import DEFAULT_REPOSITORY, install
from qafm.errors import ExportRefused, QafmError
from train.checkpoint import DATA_FILE, checkpoint_path, load_networks, load_run_settings


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run (`python -m train`).", show_default=False)],
    repository: Annotated[
        Path, typer.Option(help="Folder for the model repository; an earlier one is replaced.")
    ] = DEFAULT_REPOSITORY,
    best: Annotated[
        bool, typer.Option("--best", help="The joint stage's epoch with the best validation mAP, not its last.")
    ] = False,
) -> None:
    """Export a trained run to ONNX, check it against PyTorch, and install it as a Triton model repository."""
    console = Console()
    try:
        networks = load_networks(run, best=best)
        with console.status("exporting and comparing with PyTorch"):
            manifest = install(networks, repository, describe_run(run, best=best))
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1 if isinstance(error, ExportRefused) else 2)
    table = Table("output", "largest difference", "allowed", title="ONNX Runtime against PyTorch")
    for name, difference in manifest["differences"].items():
        relative = " of the largest value" if difference["relative"] else ""
        table.add_row(name, f"{difference['measured']:.1e}{relative}", f"{difference['allowed']:.0e}")
    console.print(table)
    console.print(f"[green]installed[/] {repository}; next: python -m server", soft_wrap=True)


def describe_run(run: Path, *, best: bool = False) -> dict[str, Any]:
    """Where exported networks come from: settings, data and the hashes of the checkpoints."""
    return {
        "run": run.resolve().name,
        "settings": load_run_settings(run).model_dump(mode="json"),
        "data": json.loads((run / DATA_FILE).read_text()),
        "checkpoints": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (checkpoint_path(run, "iqa"), checkpoint_path(run, "joint", best=best))
        },
    }


if __name__ == "__main__":
    typer.run(main)
