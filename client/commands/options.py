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
SweepAlpha = Annotated[
    bool, typer.Option("--sweep-alpha", help="Also the paper's Table 4: each branch alone, and α fixed.")
]
Weightings = Annotated[
    list[Path] | None,
    typer.Option(
        "--weighting",
        metavar="<FILE>",
        help="An alpha.npz, or a run's weighting.npz: a row of Table 4, from the same look at each image. May be given "
        "many times.",
        exists=True,
        dir_okay=False,
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")]
