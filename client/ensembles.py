"""Which ensemble describes: one that weighs by quality, or the one that takes α from the caller."""

from __future__ import annotations

from qafm.contract import QAFM_FIXED_ALPHA


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
