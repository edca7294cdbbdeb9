"""What the signals of quality are worth, in numbers with 95 % intervals over people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from bench.quality.pictures import STRENGTHS, WALK
from qafm.contract import PERTURBATION_COUNT
from qafm.datasets.degradations import LEVELS, level
from qafm.diagnosis import DEFECT_OF, DEFECTS, Diagnosis
from qafm.files import whole_file
from qafm.retrieval.bootstrap import difference, draws, interval, percentile_interval
from qafm.retrieval.discard import area_difference, discard_curve, share_of_gain
from qafm.retrieval.pooling import nearest_to_pool, pooled, weights_by
from qafm.utility import LENGTH, Q, Utility
from train.quality.alpha import CONSTANTS
from train.quality.utility import Lessons, teach

Signals = dict[str, np.ndarray]
"""By name, float64 [N] each, higher is better."""

RESAMPLES = 1000
LEFT_OUT = 0.2
"""The share of the queries that are left to a person."""


class Figure(NamedTuple):
    """One number. `of` is a signal, or what else is compared; `where` a kind of degradation, or a set of pictures."""

    what: str
    of: str
    where: str
    value: float
    low: float = np.nan
    high: float = np.nan

    def in_per_cent(self) -> str:
        ends = "" if np.isnan(self.low) else f" ({100 * self.low:.1f} to {100 * self.high:.1f})"
        return f"{100 * self.value:.1f}{ends}"


def keep(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as a CSV file, whole. Raises OSError."""
    rows = [Figure._fields, *figures]
    with whole_file(path) as file:
        file.write("".join(",".join(map(_cell, row)) + "\n" for row in rows).encode())


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return f'"{text}"' if "," in text else text


def tables(figures: Sequence[Figure]) -> str:
    """As Markdown, one for each `what`, in per cent: a row for each `where`, a column for each `of`."""
    shown = []
    for what in dict.fromkeys(figure.what for figure in figures):
        cells = {(figure.where, figure.of): figure for figure in figures if figure.what == what}
        heads = list(dict.fromkeys(of for _, of in cells))
        lines = [f"| {what} | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
        for where in dict.fromkeys(where for where, _ in cells):
            row = (cells.get((where, of)) for of in heads)
            lines.append(f"| {where} | {' | '.join(figure.in_per_cent() if figure else '' for figure in row)} |")
        shown.append("\n".join(lines))
    return "\n\n".join(shown)


def signals(lessons: Lessons, utility: Utility) -> Signals:
    """All that a picture's views say of its quality."""
    plain = np.exp(lessons.numbers)
    return {
        "utility": utility.score(lessons.numbers, lessons.directions),
        "identifiability": -plain[:, Q],
        "scatter": -plain[:, :PERTURBATION_COUNT].mean(axis=1),
        "length": plain[:, LENGTH],
    }


def within(lessons: Lessons, found: Signals) -> Iterator[Figure]:
    """Of one picture that gets worse and worse: the mean rank correlation with its strength, by kind."""
    crops = np.flatnonzero(~lessons.copies)
    for kind in _kinds(lessons):
        ladder = [
            [crop, *np.flatnonzero((lessons.whole == crop) & (lessons.kinds == kind) & lessons.copies)]
            for crop in crops
        ]
        for name, signal in found.items():
            each = np.array([correlation([0, *STRENGTHS], -signal[rows]) for rows in ladder])
            yield Figure("within", name, kind, float(each.mean()), *interval(each, lessons.pids[crops]))


def across(what: str, lessons: Lessons, found: Signals, strengths: np.ndarray, kinds: np.ndarray) -> Iterator[Figure]:
    """Of many pictures: the rank correlation with their strength, by kind."""
    for kind in sorted(set(kinds[strengths > 0].tolist())):
        rows = np.flatnonzero((kinds == kind) & (strengths > 0))
        for name, signal in found.items():
            yield Figure(what, name, kind, *_correlation_across(lessons.pids[rows], strengths[rows], -signal[rows]))


def named(lessons: Lessons, rule: Diagnosis, kinds: np.ndarray, strengths: np.ndarray, where: str) -> Iterator[Figure]:
    """Of each defect how often it was so where the rule names it, and how often it is named where it is severe."""
    truth = np.array([DEFECT_OF.get(kind) for kind in kinds.tolist()])
    said = np.array(rule.named(lessons.numbers[:, :PERTURBATION_COUNT]))
    severe = np.array([level(strength) == LEVELS[-1] for strength in strengths])
    for defect in DEFECTS:
        for what, rows in (
            ("named rightly", np.flatnonzero(said == defect)),
            ("severe and named", np.flatnonzero((truth == defect) & severe)),
        ):
            if len(rows):
                right = (said == truth)[rows].astype(float)
                share = resampled(lessons.pids[rows], lambda some, right=right: float(right[some].mean()))
                yield Figure(f"{what} ({where})", defect, f"of {len(rows)}", *share)


def untaught(taught: Lessons, ladders: Lessons) -> Iterator[Figure]:
    """Across the pictures of one kind, by a utility that was taught without it."""
    for kind in _kinds(ladders):
        kept = taught.of_kinds(set(taught.kinds.tolist()) - {kind})
        rows = np.flatnonzero((ladders.kinds == kind) & ladders.copies)
        scores = teach(kept).score(ladders.numbers[rows], ladders.directions[rows])
        told = _correlation_across(ladders.pids[rows], ladders.strengths[rows], -scores)
        yield Figure("across ladders, of a kind that was not taught", "utility", kind, *told)


def left_out(precision: np.ndarray, found: Signals, truth: np.ndarray, pids: np.ndarray) -> Iterator[Figure]:
    """mAP without the worst fifth of the queries, what part of the gain by the recorded truth that is, and areas."""
    yield Figure("mAP", "all", "queries", float(np.nanmean(precision)), *interval(precision, pids))
    for name, signal in [*found.items(), ("truth", truth)]:
        curve = discard_curve(precision, signal, pids, fractions=(LEFT_OUT,))
        yield Figure("mAP without the worst fifth", name, "queries", curve.mAP[0])
        yield Figure("area", name, "queries", curve.area, *curve.interval)
        over = area_difference(precision, signal, found["identifiability"], pids)
        yield Figure("area over that of identifiability", name, "queries", over.value, *over.interval)
        share = share_of_gain(precision, signal, truth, pids, LEFT_OUT)
        yield Figure("share of the truth's gain", name, "queries", share.value, *share.interval)


def constants(
    precision: Callable[[float], np.ndarray], by_rule: Mapping[str, np.ndarray], pids: np.ndarray
) -> Iterator[Figure]:
    """mAP by every constant α, and by rules: of each the average precisions of the queries, float64 [Q]."""
    each = {f"{alpha:.2f}": precision(float(alpha)) for alpha in CONSTANTS}
    best = max(each, key=lambda name: float(np.nanmean(each[name])))
    for name, found in each.items():
        yield Figure("mAP by a constant", "every picture", f"α = {name}", float(np.nanmean(found)))
    for name, found in by_rule.items():
        yield Figure("mAP", name, "queries", float(np.nanmean(found)), *interval(found, pids))
        yield _over("mAP over the best constant in hindsight", name, best, found, each[best], pids)
    yield _over("mAP over the constant", "retrieval", "queries", by_rule["retrieval"], by_rule["constant"], pids)


def shots(
    precision: Callable[[np.ndarray], np.ndarray],
    descriptors: np.ndarray,
    pids: np.ndarray,
    found: Signals,
    strengths: np.ndarray,
    where: str,
) -> Iterator[Figure]:
    """Of W walks: the best of four pictures by each signal, and the one nearest to all of them, between a random one
    and the truly least degraded; and descriptors pooled by weights.

    precision: descriptors [W,D] to average precisions [W]. descriptors: float [W,4,D]. pids [W]. strengths [W,4].
    """
    walks = np.arange(len(descriptors))
    single = np.stack([precision(descriptors[:, place]) for place in range(WALK)], axis=1)
    by = {name: single[walks, signal.reshape(-1, WALK).argmax(axis=1)] for name, signal in found.items()}
    utilities = 1 / (1 + np.exp(-found["utility"].reshape(-1, WALK)))
    chosen = [nearest_to_pool(*each) for each in zip(descriptors, weights_by(utilities), strict=True)]
    by["nearest to the pool"] = single[walks, chosen]
    by["chance"], by["truth"] = single.mean(axis=1), single[walks, strengths.argmin(axis=1)]
    for name, each in by.items():
        yield Figure("one shot", name, where, float(np.nanmean(each)), *interval(each, pids))
        share = resampled(pids, lambda some, each=each: _share(each[some], by["chance"][some], by["truth"][some]))
        yield Figure("share of the way to the best shot", name, where, *share)
    weights = {
        "alike": np.ones_like(strengths),
        "utility": weights_by(utilities),
        "utility alone": utilities,
        "truth": 1 - strengths,
    }
    for name, weight in weights.items():
        by[name] = precision(np.stack([pooled(*each) for each in zip(descriptors, weight, strict=True)]))
        yield Figure("pooled", name, where, float(np.nanmean(by[name])), *interval(by[name], pids))
        yield _over("pooled, over pooled alike", name, where, by[name], by["alike"], pids)


def _share(each: np.ndarray, chance: np.ndarray, truth: np.ndarray) -> float:
    return float(np.nanmean(each - chance) / np.nanmean(truth - chance))


def _over(what: str, of: str, where: str, values: np.ndarray, others: np.ndarray, pids: np.ndarray) -> Figure:
    found = difference(values, others, pids)
    return Figure(what, of, where, found.value, *found.interval)


def _kinds(lessons: Lessons) -> list[str]:
    return sorted(set(lessons.kinds[lessons.copies].tolist()))


def correlation(one: Sequence[float] | np.ndarray, other: np.ndarray) -> float:
    """0 where one of them is the same everywhere."""
    if len(set(np.asarray(other).tolist())) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)


def _correlation_across(pids: np.ndarray, strengths: np.ndarray, badness: np.ndarray) -> tuple[float, float, float]:
    return resampled(pids, lambda some: correlation(strengths[some], badness[some]))


def resampled(pids: np.ndarray, measure: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
    """What `measure` gives of all rows, and its interval when identities are drawn. pids: int [N]."""
    people, places = np.unique(pids, return_inverse=True)
    rows = [np.flatnonzero(places == place) for place in range(len(people))]
    drawn = []
    for times in (each for block in draws(len(people), resamples=RESAMPLES) for each in block.astype(int)):
        some = [np.tile(own, count) for own, count in zip(rows, times, strict=True) if count]
        drawn.append(measure(np.concatenate(some)))
    return measure(np.arange(len(pids))), *percentile_interval(np.array(drawn))
