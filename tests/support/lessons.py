"""Drawn lessons, whose lesson is known."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from qafm.utility import NUMBERS
from train.quality.utility import Lessons


def lessons_of(people: int = 8, crops: int = 4, copies: int = 6, semantic: float = 1.0, seed: int = 0) -> Lessons:
    """Two kinds: "fog" shows in number 3 and takes the picture away from its person, "dust" shows in number 7 and does
    half as much. Number 11 is the person's own and says nothing. The other branch is moved by neither, but by
    `semantic` always."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list] = {field.name: [] for field in fields(Lessons)}
    for pid in range(people):
        centre, own = rng.normal(size=16), 10 * rng.normal()
        for camera in range(crops):
            whole, features = len(rows["pids"]), rng.normal(size=2048)
            for copy in range(copies + 1):
                kind = "none" if copy == 0 else ("fog", "dust")[copy % 2]
                strength = 0.0 if copy == 0 else rng.uniform(0.05, 1)
                read = rng.normal(size=NUMBERS) * 0.05
                read[11] = own
                read[3] += 2 * strength * (kind == "fog")
                read[7] += 2 * strength * (kind == "dust")
                away = strength * (2 if kind == "fog" else 1) * np.eye(16)[0] * 3
                vector = centre + 0.2 * rng.normal(size=16) + away
                other = centre + semantic * rng.normal(size=16)
                for name, value in (
                    ("numbers", read),
                    ("directions", features / np.linalg.norm(features)),
                    ("ends", np.stack([other, vector])),
                    ("descriptors", vector / np.linalg.norm(vector)),
                    ("pids", pid),
                    ("camids", camera),
                    ("whole", whole),
                    ("kinds", kind),
                    ("strengths", strength),
                ):
                    rows[name].append(value)
    return Lessons(**{name: np.array(values) for name, values in rows.items()})
