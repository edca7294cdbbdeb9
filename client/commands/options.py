"""Options that more than one command has."""

from pathlib import Path
from typing import Annotated

import typer

Rerank = Annotated[
    bool,
    typer.Option("--rerank", help="Also the metrics after k-reciprocal re-ranking, which uses all queries together."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")]
