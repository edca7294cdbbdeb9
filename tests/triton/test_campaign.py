"""Some minutes of `make campaign` against the real server: nothing is lost."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from bench.campaign.parts import PARTS, Campaign

pytestmark = pytest.mark.triton

SHARES = {
    **{"decoded": 0.05, "served": 0.05, "faults": 0.06, "network": 0.1, "cancelled": 0.05},
    **{"malformed": 0.05, "scarce": 0.05, "clock": 0.05, "load": 0.01},
}


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_lost(exported_repository, tmp_path, part):
    campaign = Campaign(exported_repository, SHARES[part], 20261126, tmp_path / "findings", Console(quiet=True))
    outcome = PARTS[part](campaign)
    # How long things take is for a quiet machine to say.
    lost = [words for words in outcome.lost if not re.search("percentile|only after|took|cost", words)]
    assert lost == [], outcome.summary
