"""Market-1501's folders and file names, and those of the drawn benchmark.

DIR/bounding_box_train/0002_c1s1_000451_03.jpg      training crops
DIR/query/0001_c1s1_001051_00.jpg                   queries
DIR/bounding_box_test/-1_c1s1_000401_03.jpg         gallery, with `-1` junk and `0000` distractors
DIR/market_attribute.mat                            attributes of the identities (`qafm.attributes`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qafm.datasets.crops import Split
from qafm.datasets.folders import Naming, ThreeFolders

ATTRIBUTE_FILE = "market_attribute.mat"
PUBLISHED_COUNTS: dict[Split, int] = {"train": 12_936, "query": 3_368, "gallery": 19_732}
"""Files in each split of the published dataset, junk and distractors included."""

NAMING = Naming(
    pattern=re.compile(r"(?P<pid>-1|\d{4,})_c(?P<camid>[1-9]\d*)s(?P<sequence>\d+)_(?P<frame>\d+)_(?P<box>\d+)\.jpg"),
    form="PID_cCAMsSEQUENCE_FRAME_BOX.jpg",
    example="0002_c1s1_000451_03.jpg",
    suffix=".jpg",
)
parse_name = NAMING.parse
list_split = NAMING.list_split


class Market1501(ThreeFolders):
    """Market-1501, and what is drawn like it."""

    name = "Market-1501"
    expected = f"bounding_box_train, query and bounding_box_test, with images named as {NAMING.example}"
    naming = NAMING

    @property
    def published_counts(self) -> Mapping[Split, int]:
        return PUBLISHED_COUNTS

    @property
    def attribute_file(self) -> Path:
        return self.root / ATTRIBUTE_FILE
