"""`python -m bench.quality RUN`: what quality is worth, by a finished run and on the test people of its dataset.

Everything is described once and kept in --out: of a run of `study` that takes three quarters of an hour on one core.
The figures go into a CSV file, and as tables onto the screen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bench.quality.described import Described
from bench.quality.figures import keep, tables
from bench.quality.judge import judge
from qafm.errors import QafmError


def main(
    run: Annotated[Path, typer.Argument(help="A finished run.", exists=True)],
    data: Annotated[Path, typer.Option(help="Its dataset, with what is wrong with each picture.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for what is described; what is there is read.")],
    results: Annotated[Path, typer.Option(help="The CSV file of the figures.")],
) -> None:
    """Judge the quality of a run."""
    try:
        figures = judge(Described(run, out, Console()), data)
        keep(figures, results)
        print(tables(figures))
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    typer.run(main)
