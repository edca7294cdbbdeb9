"""Options that more than one command has."""

from pathlib import Path
from typing import Annotated

import typer

Rerank = Annotated[
    bool,
    typer.Option("--rerank", help="Also the metrics after k-reciprocal re-ranking, which uses all queries together."),
]
NamePattern = Annotated[
    str | None,
    typer.Option(
        metavar="<RE>",
        help="A regular expression that reads the identity from the path of an image below the folder: "
        "'(?P<pid>..)_(?P<camid>..)'. See docs/datasets.md.",
    ),
]
Abstain = Annotated[
    float | None,
    typer.Option(
        metavar="<FRACTION>",
        min=0,
        max=1,
        help="Also the metrics without this share of the queries, those of the worst quality, as if left to a person.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")]
