"""Writes a dataset: Market-1501's folders, its attribute file, and what is wrong with each image.

DIR/recipe.json         what it was made from: {maker, version, recipe}; the first file to be written
DIR/degradations.json   what is wrong with each image (`qafm.datasets.degradations`); the last
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import numpy as np

from qafm.datasets.attribute_file import write_attributes
from qafm.datasets.crops import DISTRACTOR_PID, JUNK_PID
from qafm.datasets.degradations import DEGRADATION_FILE, Degradation, write_degradations
from qafm.datasets.folders import FOLDERS
from qafm.datasets.market1501 import ATTRIBUTE_FILE
from qafm.errors import InvalidDataset, InvalidSettings
from synthetic.person import Person, make_person
from synthetic.picture import make_picture
from synthetic.plan import ATTRIBUTES, TEST, TRAIN, Shot, identities, seed, shots
from synthetic.population import draw_attributes
from synthetic.recipe import Recipe
from synthetic.worlds import WORLDS

RECIPE_FILE = "recipe.json"
"""Written first: the mark of a folder that this module made and may replace."""
VERSION = 1
_SHOTS_PER_TASK = 64


def make_dataset(
    recipe: Recipe,
    out: Path,
    workers: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Draw a dataset into the folder `out`, replacing a previous one.

    workers: processes to draw in; None for one per core. They make no difference to any file. progress is
    called with the number of images done since its last call.
    Raises InvalidDataset where `out` holds something else than a dataset made here, InvalidSettings for
    workers < 1.
    """
    workers = multiprocessing.cpu_count() if workers is None else workers
    if workers < 1:
        raise InvalidSettings(f"workers: expected 1 or more, got {workers}")
    out = Path(out)
    _clear(out)
    recipe_json = json.dumps({"maker": "synthetic", "version": VERSION, "recipe": asdict(recipe)}, indent=1)
    (out / RECIPE_FILE).write_text(recipe_json + "\n", encoding="utf-8")
    for folder in FOLDERS.values():
        (out / folder).mkdir()
    attributes = people(recipe)
    train, test = identities(recipe)
    _write_attributes(
        out / ATTRIBUTE_FILE, {pid: attributes[pid] for pid in train}, {pid: attributes[pid] for pid in test}
    )
    recorded: dict[str, Degradation] = {}
    for batch in _drawn(recipe, attributes, out, workers):
        recorded |= batch
        if progress is not None:
            progress(len(batch))
    # Last: where it is, the dataset is complete.
    write_degradations(out / DEGRADATION_FILE, recorded)


def people(recipe: Recipe) -> dict[int, np.ndarray]:
    """{pid: int8 [12]}, the attributes of the identities of both splits."""
    tables = WORLDS[recipe.world].attributes
    attributes: dict[int, np.ndarray] = {}
    for half, pids in zip((TRAIN, TEST), identities(recipe), strict=True):
        rng = np.random.default_rng(seed(recipe, ATTRIBUTES, half))
        attributes |= dict(zip(pids, draw_attributes(tables, len(pids), recipe.lookalikes, rng), strict=True))
    return attributes


def person_of(shot: Shot, attributes: dict[int, np.ndarray], recipe: Recipe) -> Person:
    """Who is in a shot: the identity, or for a distractor or junk a stranger who appears nowhere else."""
    rng = np.random.default_rng(shot.person)
    if shot.pid in (DISTRACTOR_PID, JUNK_PID):
        labels = draw_attributes(WORLDS[recipe.world].attributes, 1, 0.0, rng)[0]
    else:
        labels = attributes[shot.pid]
    return make_person(labels, rng)


def _clear(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidDataset(f"{out}: is a file; expected a folder to write the dataset into")
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECIPE_FILE).is_file():
            raise InvalidDataset(
                f"{out}: the folder is not empty and holds no dataset made by synthetic "
                f"(no {RECIPE_FILE}). Name another folder, or empty this one"
            )
        (out / DEGRADATION_FILE).unlink(missing_ok=True)
        (out / ATTRIBUTE_FILE).unlink(missing_ok=True)
        for folder in FOLDERS.values():
            if (out / folder).exists():
                shutil.rmtree(out / folder)
    out.mkdir(parents=True, exist_ok=True)


def _drawn(
    recipe: Recipe, attributes: dict[int, np.ndarray], out: Path, workers: int
) -> Iterator[dict[str, Degradation]]:
    planned = shots(recipe)
    tasks = [planned[i : i + _SHOTS_PER_TASK] for i in range(0, len(planned), _SHOTS_PER_TASK)]
    if workers == 1 or len(tasks) == 1:
        for task in tasks:
            yield _draw_task(recipe, attributes, out, task)
        return
    # A fresh interpreter each: a copy of a process that has threads, as one with torch has, may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        futures = []
        for task in tasks:
            needed = {shot.pid: attributes[shot.pid] for shot in task if shot.pid in attributes}
            futures.append(pool.submit(_draw_task, recipe, needed, out, task))
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # a full disk or Ctrl-C: don't draw the rest first
            pool.shutdown(cancel_futures=True)
            raise


def _draw_task(
    recipe: Recipe, attributes: dict[int, np.ndarray], out: Path, task: list[Shot]
) -> dict[str, Degradation]:
    degradations = {}
    for _, same in groupby(task, key=lambda shot: shot.person):
        one_person = list(same)
        person = person_of(one_person[0], attributes, recipe)
        for shot in one_person:
            data, degradations[shot.path] = make_picture(shot, person, recipe)
            (out / shot.path).write_bytes(data)
    return degradations


def _write_attributes(path: Path, train: dict[int, np.ndarray], test: dict[int, np.ndarray]) -> None:
    write_attributes(path, train, test)
    # The first 116 bytes of a MATLAB 5 file are free text; SciPy writes the time there, and the same recipe
    # would not give the same file twice.
    with path.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, made by synthetic".ljust(116))
