"""DukeMTMC-reID's file names, in the same three folders as Market-1501.

DIR/bounding_box_train/0002_c1_f0044158.jpg

The dataset itself has been withdrawn by those who made it. Only its layout is read, which other datasets use too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from qafm.datasets.crops import Split
from qafm.datasets.folders import Naming, ThreeFolders


class DukeMtmc(ThreeFolders):
    """A dataset with the names of DukeMTMC-reID. The attributes annotated for it are others than the paper's."""

    name = "DukeMTMC-reID"
    naming = Naming(
        pattern=re.compile(r"(?P<pid>\d{4,})_c(?P<camid>[1-9]\d*)_f(?P<frame>\d+)\.jpg"),
        form="PID_cCAM_fFRAME.jpg",
        example="0002_c1_f0044158.jpg",
        suffix=".jpg",
    )
    expected = f"the same three folders, with images named as {naming.example}"

    @property
    def published_counts(self) -> Mapping[Split, int]:
        return {"train": 16_522, "query": 2_228, "gallery": 17_661}
