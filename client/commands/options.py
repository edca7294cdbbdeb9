"""Options that more than one command has."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from qafm.contract import QAFM, QAFM_FAST, QAFM_FIXED_ALPHA


class Ensemble(str, Enum):
    qafm = QAFM
    qafm_fast = QAFM_FAST
    qafm_fixed_alpha = QAFM_FIXED_ALPHA


Model = Annotated[
    Ensemble,
    typer.Option(
        help="The ensemble to ask. qafm_fast has its quality from one learnt network instead of 35 views; "
        "qafm_fixed_alpha takes α from --alpha, and computes no quality."
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        metavar="<WEIGHT>", help="For qafm_fixed_alpha: the weight of the visual branch, from 0 to 1, for every image."
    ),
]
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


def alpha_for(model: Ensemble, alpha: float | None, default: float | None = None) -> float | None:
    """α to ask the ensemble with, in [0,1]: what is given, else `default`. None for one that weighs by quality.

    Raises typer.BadParameter for an α that the ensemble does not take, that it lacks, or that is no weight.
    """
    if model is not Ensemble.qafm_fixed_alpha:
        if alpha is not None:
            raise typer.BadParameter(
                f"{model.value} weighs by quality; expected --model {QAFM_FIXED_ALPHA}, or no --alpha",
                param_hint="--alpha",
            )
        return None
    alpha = default if alpha is None else alpha
    if alpha is None:
        raise typer.BadParameter(f"{model.value} takes its weight from you; add --alpha", param_hint="--model")
    if not 0 <= alpha <= 1:
        raise typer.BadParameter(f"expected a weight from 0 to 1, got {alpha}", param_hint="--alpha")
    return alpha
