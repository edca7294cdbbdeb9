"""Which ensemble describes: one that weighs by quality, or the one that takes α from the caller; and whether there is
anything to weigh."""

from __future__ import annotations

from collections.abc import Collection

from qafm.contract import QAFM, QAFM_FIXED_ALPHA, SEMANTIC
from qafm.errors import ContractMismatch


def ensemble_for(alpha: float | None, ensemble: str) -> str:
    """QAFM_FIXED_ALPHA where α is given, else `ensemble`.

    Raises ValueError for an alpha outside [0,1], and for QAFM_FIXED_ALPHA without one.
    """
    if alpha is None:
        if ensemble == QAFM_FIXED_ALPHA:
            raise ValueError(f"{ensemble} takes its weight from the caller; expected alpha")
        return ensemble
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected a weight from 0 to 1")
    return QAFM_FIXED_ALPHA


def require_two_branches(outputs: Collection[str], url: str) -> None:
    """outputs: of QAFM, that a server gives. Raises ContractMismatch where there is one branch: trained without
    attributes, a model has no v_s, and α weighs nothing."""
    if SEMANTIC.name not in outputs:
        raise ContractMismatch(
            f"the model at {url} was trained without attributes: its descriptor has one branch, so there is nothing to "
            "weigh anew (--sweep-alpha, --weighting)",
            url=url,
            model=QAFM,
        )
