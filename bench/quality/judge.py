"""All figures of a run: what its held-out people teach, judged on its test people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.quality.described import Described
from bench.quality.figures import (
    Figure,
    across,
    constants,
    left_out,
    named,
    shots,
    signals,
    untaught,
    within,
)
from bench.quality.pictures import WALK, as_they_are, ladders, walks
from bench.quality.thresholds import FALSE_POSITIVES, Pairs, by_class
from qafm.datasets.crops import Crop, without_junk
from qafm.datasets.degradations import DEGRADATION_FILE, Degradation, read_degradations
from qafm.datasets.layouts import open_dataset
from qafm.diagnosis import Diagnosis
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.utility import Utility
from qafm.weighting.retrieval import Retrieval
from train.data import load_training_data
from train.quality.alpha import Fitted, alphas, fit
from train.quality.diagnosis import teach_diagnosis
from train.quality.lessons import draw_pictures, of_undegraded
from train.quality.utility import Lessons, teach

SEED = 0
"""Of what is drawn of the test people, the same for every run."""


def judge(described: Described, data: Path) -> list[Figure]:
    """By the lessons that the run's settings ask for. Whatever gives α in the run, it is fitted for retrieval here.

    Raises InvalidDataset where nothing is recorded to be wrong.
    """
    settings = described.settings
    held_out = load_training_data(data, settings.seed).held_out
    lessons = draw_pictures(held_out, settings.lessons, settings.seed)
    taught = described("lessons", lessons)
    fitted = fit(taught)
    assert fitted is not None, "a dataset of one camera"
    if settings.joint.weighting == Retrieval.kind:
        # As the last stage of such a run does.
        taught = replace(taught, descriptors=taught.described(alphas(fitted.weighting, taught)))
    utility, rule = teach(taught), teach_diagnosis(of_undegraded(taught, lessons, data))
    crops, recorded = crops_of_test_people(data)
    query, gallery = (described(side, as_they_are(crops[side])) for side in crops)
    whole = [crop for side in crops for crop in crops[side] if not recorded[crop].strength and crop.pid > 0]
    worse = described("ladders", ladders(whole, SEED))
    return [
        *within(worse, signals(worse, utility)),
        *across("across ladders", worse, signals(worse, utility), worse.strengths, worse.kinds),
        *untaught(taught, worse),
        *named(worse, rule, worse.kinds, worse.strengths, "ladders"),
        *_of_queries(query, gallery, [recorded[crop] for crop in crops["query"]], utility, rule, fitted),
        *_of_walks(described, whole, gallery, utility, fitted, severe=False),
        *_of_walks(described, whole, gallery, utility, fitted, severe=True),
    ]


def crops_of_test_people(data: Path) -> tuple[dict[str, list[Crop]], dict[Crop, Degradation]]:
    """Query and gallery without junk, and what is wrong with each."""
    dataset, recorded = open_dataset(data), read_degradations(data / DEGRADATION_FILE)
    crops = {side: without_junk(dataset.split(side)) for side in ("query", "gallery")}
    wrong = {crop: recorded[crop.path.relative_to(data).as_posix()] for side in crops.values() for crop in side}
    return crops, wrong


def _of_queries(
    query: Lessons, gallery: Lessons, recorded: Sequence[Degradation], utility: Utility, rule: Diagnosis, fitted: Fitted
) -> Iterator[Figure]:
    strengths, kinds = (np.array([getattr(each, name) for each in recorded]) for name in ("strength", "kind"))
    found = signals(query, utility)
    yield from across("across queries", query, found, strengths, kinds)
    yield from named(query, rule, kinds, strengths, "queries")

    def precision(of_query: np.ndarray, of_gallery: np.ndarray) -> np.ndarray:
        return evaluate(side_at(query, of_query), side_at(gallery, of_gallery)).average_precision

    rules = {"retrieval": fitted.weighting, "constant": fitted.constant}
    by_rule = {name: precision(alphas(rule, query), alphas(rule, gallery)) for name, rule in rules.items()}
    yield from constants(
        lambda alpha: precision(np.full(len(query.pids), alpha), np.full(len(gallery.pids), alpha)), by_rule, query.pids
    )
    yield from _of_pairs(query, gallery, utility, fitted)
    yield from left_out(by_rule["retrieval"], found, -strengths, query.pids)


def _of_pairs(query: Lessons, gallery: Lessons, utility: Utility, fitted: Fitted) -> Iterator[Figure]:
    sides = [side_at(each, alphas(fitted.weighting, each)) for each in (query, gallery)]
    cosines = sides[0].descriptors @ sides[1].descriptors.T
    found = [signals(each, utility) for each in (query, gallery)]
    labels = [tuple(getattr(side, name) for side in sides) for name in ("pids", "camids")]
    where = f"{FALSE_POSITIVES:g} of the false"
    for name in ("utility", "identifiability"):
        one, gain = by_class(Pairs(cosines, (found[0][name], found[1][name]), *labels))
        yield Figure("true pairs that pass", f"more by a threshold for each class of {name}", where, *gain)
    yield Figure("true pairs that pass", "one threshold", where, one)


def _of_walks(
    described: Described, crops: Sequence[Crop], gallery: Lessons, utility: Utility, fitted: Fitted, *, severe: bool
) -> Iterator[Figure]:
    pictures = walks(crops, SEED, severe=severe)
    name = "walks, half severe" if severe else "walks"
    seen = described(name.replace(", ", "-").replace(" ", "-"), pictures)
    descriptors = seen.described(alphas(fitted.weighting, seen))
    answers = side_at(gallery, alphas(fitted.weighting, gallery))
    pids, camids = seen.pids[::WALK], seen.camids[::WALK]

    def precision(chosen: np.ndarray) -> np.ndarray:
        return evaluate(_descriptors(chosen, pids, camids), answers).average_precision

    strengths = seen.strengths.reshape(-1, WALK)
    yield from shots(
        precision, descriptors.reshape(*strengths.shape, -1), pids, signals(seen, utility), strengths, name
    )


def side_at(lessons: Lessons, alpha: np.ndarray) -> Descriptors:
    return _descriptors(lessons.described(alpha), lessons.pids, lessons.camids)


def _descriptors(vectors: np.ndarray, pids: np.ndarray, camids: np.ndarray) -> Descriptors:
    return Descriptors(vectors.astype(np.float32), pids.astype(np.int64), camids.astype(np.int64))
