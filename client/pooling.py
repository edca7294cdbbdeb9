"""Several pictures of one person: which of them to trust, and all of them as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from client.description import Description, Float32
from qafm.errors import InvalidDescriptors
from qafm.retrieval.pooling import pooled


def best_shot(descriptions: Sequence[Description]) -> Description:
    """The one of the highest utility, the first of equals.

    Raises InvalidDescriptors where there is none, or one without a utility, which a server may lack.
    """
    _require(descriptions)
    missing = sum(description.utility is None for description in descriptions)
    if missing:
        raise InvalidDescriptors(
            f"{missing} of {len(descriptions)} descriptions have no utility; a best shot needs that of each. Describe "
            "them with a model that gives UTILITY, by its ensemble qafm"
        )
    return max(descriptions, key=lambda description: description.utility or 0.0)


def pool(descriptions: Sequence[Description]) -> Float32:
    """One descriptor for all of them, to search with or to search for: their mean, float32 [1000], of length 1.

    All count alike: weights by utility lost up to 2 points of mAP (docs/results.md). Raises InvalidDescriptors where
    there is no description, or two are of different models.
    """
    _require(descriptions)
    return pooled(np.stack([description.descriptor for description in descriptions]))


def _require(descriptions: Sequence[Description]) -> None:
    if not descriptions:
        raise InvalidDescriptors("no description; expected at least one, of one person")
    if len(models := sorted({description.model for description in descriptions if description.model})) > 1:
        raise InvalidDescriptors(
            f"the pictures are described by the models {', '.join(models)}, between which distances mean nothing. "
            "Describe all of them with one"
        )
