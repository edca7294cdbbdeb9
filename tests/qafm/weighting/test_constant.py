from __future__ import annotations

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality
from qafm.weighting.constant import Constant


@pytest.mark.parametrize("q", [0.0, 11.1, 1e6])
def test_alpha_is_the_same_for_every_picture(q):
    assert Constant(np.array(0.25)).alpha(Quality(q, np.full(34, q, np.float32), np.zeros(2048))) == 0.25


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, [0.5]])
def test_refuses_what_is_no_weight(value):
    with pytest.raises(InvalidCheckpoint, match="alpha"):
        Constant(np.array(value))
