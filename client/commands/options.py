"""Options that more than one command has."""

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from qafm.contract import QAFM, QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.errors import InvalidSettings


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
Against = Annotated[Path | None, typer.Option(help="Folder of an earlier report of the same queries, to compare with.")]
Heatmaps = Annotated[
    Path | None, typer.Option(help="Folder that `python -m export.heatmaps` wrote, to show in the report.")
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
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Neither read nor keep descriptions in ~/.cache/qafm, where pictures are known by their content.",
    ),
]


def kept_after_interruption(no_cache: bool) -> str:
    """What becomes of descriptions where a command is interrupted that keeps them by `NoCache`."""
    if no_cache:
        return "nothing is kept with --no-cache"
    return "what was described of a folder is kept; the same command goes on"


class OnError(str, Enum):
    skip = "skip"
    fail = "fail"


OnFailure = Annotated[OnError, typer.Option("--on-error", help="Leave out an image that fails, or stop at the first.")]
Concurrency = Annotated[int, typer.Option(min=1, max=1024, help="How many requests are in flight at once.")]
RequestTimeout = Annotated[
    float, typer.Option("--request-timeout", min=0, help="Seconds to wait for the answer to one request.")
]
Retry = Annotated[float, typer.Option("--retry", min=0, help="Seconds to keep trying while the server is away.")]


def writable(path: Path | None) -> Path | None:
    """A file that is to be written, if one is named: what is wrong with it is said before hours of work, not after.

    Raises InvalidSettings.
    """
    if path is None:
        return None
    folder = path.absolute().parent
    if path.is_dir():
        raise InvalidSettings(f"{path}: is a folder; expected a file to write")
    if not folder.is_dir():
        raise InvalidSettings(f"{path}: the folder {folder} is not there; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InvalidSettings(f"{path}: cannot be written: permission denied")
    return path


Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.", callback=writable)]


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
