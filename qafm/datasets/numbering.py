"""Numbers for identities and cameras that are texts, as in a dataset of one's own.

A pid is any text. The identities of a dataset are numbered from 1 in the order of their texts, over all splits
together, so "10" comes before "2", and "0" and "0000" are identities like any other. Only "-1" keeps its meaning: junk.
Distractors need no mark: they are identities that no query has.

If all camids of a dataset are whole numbers, they stay as they are; else the cameras are numbered from 1 in the order
of their texts too. An image without a camid has a camera of its own, so that every other image of the same identity
counts as a true match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qafm.datasets.crops import JUNK_PID, Crop

# Longer ones do not fit into int64.
WHOLE_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class NamedImage:
    """An image whose identity and camera are texts.

    `camid` is None for a camera of its own; that is so for all images of a dataset or for none.
    """

    path: Path
    pid: str
    camid: str | None


def number_pids(texts: Iterable[str]) -> dict[str, int]:
    """{text: pid}."""
    people = sorted(set(texts) - {str(JUNK_PID)})
    return {str(JUNK_PID): JUNK_PID, **{text: pid for pid, text in enumerate(people, start=1)}}


def number_camids(texts: Iterable[str]) -> dict[str, int]:
    """{text: camid}."""
    cameras = sorted(set(texts))
    if all(WHOLE_NUMBER.fullmatch(text) for text in cameras):
        return {text: int(text) for text in cameras}
    return {text: camid for camid, text in enumerate(cameras, start=1)}


def numbered(images: Sequence[NamedImage]) -> list[Crop]:
    """The crops of a whole dataset, in the same order."""
    pids = number_pids(image.pid for image in images)
    camids = number_camids(image.camid for image in images if image.camid is not None)
    return [
        Crop(image.path, pids[image.pid], own if image.camid is None else camids[image.camid])
        for own, image in enumerate(images, start=1)
    ]
