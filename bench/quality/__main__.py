"""`python -m bench.quality RUN`: what quality is worth, by a finished run and on the test people of its dataset.

Everything is described once and kept in --out: of a run of `study` that takes three quarters of an hour on one core.
The figures go into a CSV file, and as tables onto the screen.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from bench.quality.described import Described
from bench.quality.figures import keep, tables
from bench.quality.judge import judge
from bench.quality.options import Data, Out, Results, Run
from qafm.errors import QafmError


def main(run: Run, data: Data, out: Out, results: Results) -> None:
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
