"""Several pictures of one person: which of them to trust, and all of them as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from client.description import Description, Float32
from qafm.errors import InvalidDescriptors
from qafm.retrieval.pooling import nearest_to_pool, pooled, weights_by


def best_shot(descriptions: Sequence[Description]) -> Description:
    """The one nearest to the descriptor of all, as `pool` has it; of two, that of the higher utility; the first of
    equals.

    It finds its person more often than the one of the highest utility (docs/results.md). Raises InvalidDescriptors
    where there is no description, or two are of different models.
    """
    return descriptions[nearest_to_pool(*_weighted(descriptions))]


def pool(descriptions: Sequence[Description]) -> Float32:
    """One descriptor for all of them, to search with or to search for: their mean, float32 [1000], of length 1.

    A picture counts by a half and its utility, so up to three times as much as another (docs/results.md); all count
    alike where one has no utility. Raises InvalidDescriptors where there is no description, or two are of different
    models.
    """
    return pooled(*_weighted(descriptions))


def _weighted(descriptions: Sequence[Description]) -> tuple[Float32, Float32 | None]:
    """The descriptors [N,1000], and what each counts [N]; None: all alike, for a utility is missing."""
    _require(descriptions)
    descriptors = np.stack([description.descriptor for description in descriptions])
    known = [description.utility for description in descriptions if description.utility is not None]
    return descriptors, weights_by(np.array(known)) if len(known) == len(descriptions) else None


def _require(descriptions: Sequence[Description]) -> None:
    if not descriptions:
        raise InvalidDescriptors("no description; expected at least one, of one person")
    if len(models := sorted({description.model for description in descriptions if description.model})) > 1:
        raise InvalidDescriptors(
            f"the pictures are described by the models {', '.join(models)}, between which distances mean nothing. "
            "Describe all of them with one"
        )
