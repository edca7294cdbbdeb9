"""The first thing that a report says: is this model good, where is it bad, is its quality signal to be relied on?"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

import numpy as np

from client.evaluation.measures import ENOUGH_IDENTITIES
from client.page import when
from client.report.parts import chance, interval, percent, points
from client.report.report import Report
from client.report.words import SIGNALS, TITLES
from qafm.attribute_metrics import HeadMetrics
from qafm.retrieval.cameras import CameraPairs
from qafm.retrieval.discard import LIMIT, DiscardCurve

_ENOUGH = 10
"""Of a pair of cameras with fewer queries nothing is said."""


class Sentence(NamedTuple):
    """HTML, and what kind of news it is: "good", "bad" or, where it is neither, ""."""

    content: str
    news: str = ""


def verdict(report: Report) -> str:
    """The section."""
    answers = (
        ("How good is it?", _how_good(report)),
        ("Where is it bad?", _where_bad(report)),
        ("Can its quality signal be relied on?", _signal(report)),
    )
    shown = ""
    for question, sentences in answers:
        lines = "".join(f'<p class="{each.news}">{each.content}</p>' for each in sentences)
        shown += f"<div><h2>{question}</h2>{lines}</div>" if lines else ""
    return f'<section class="verdict" aria-label="Verdict">{shown}</section>'


def main_curve(report: Report) -> tuple[str, DiscardCurve] | None:
    """The discard curve of what the server says of quality, by the name of its signal; the utility where there is
    one."""
    curves = {name: curve for name, curve in report.measured.discard.items() if name != "recorded strength"}
    return next(iter(curves.items()), None)


def no_better_than_the_guess(attributes: dict[str, HeadMetrics]) -> list[str]:
    """The attributes that are not told beyond chance: the interval of their balanced accuracy reaches down to that of
    one answer for all, 1/K where K values occur. Where there is no interval, the value itself counts. Of an attribute
    of which all images have one value nothing is known."""
    return [name for name, head in attributes.items() if head.auc is not None and _lowest(head) <= 1 / head.values]


def _lowest(head: HeadMetrics) -> float:
    return head.balanced_accuracy_interval.low if head.balanced_accuracy_interval else head.balanced_accuracy


def _how_good(report: Report) -> Iterator[Sentence]:
    metrics, ends = report.metrics, report.measured.intervals
    first, mean = (f" ({interval(ends[name], 0)})" if name in ends else "" for name in ("rank1", "mAP"))
    yield Sentence(
        f"Of 100 queries, {percent(metrics.rank1, 0)}{first} find the right person first. mAP is "
        f"{percent(metrics.mAP, 1)}{mean}; a colour histogram has {percent(report.baseline.mAP, 1)} on the same images."
    )
    if report.against:
        before, found = report.against.before, report.against.differences["mAP"]
        sign = chance(found.interval)
        word = {1: "Better than", -1: "Worse than", 0: "No different, beyond chance, from"}[sign]
        yield Sentence(
            f"{word} {escape(before.model or before.name)} of {when(before.created)}: mAP "
            f"{points(found.value)} points ({points(found.interval.low)} to {points(found.interval.high)}); "
            f"{len(report.against.better):,} queries better, {len(report.against.worse):,} worse.",
            {1: "good", -1: "bad", 0: ""}[sign],
        )
    if report.failed_images:
        yield Sentence(f"{len(report.failed_images):,} images could not be described; they are in no number.", "bad")


def _where_bad(report: Report) -> Iterator[Sentence]:
    if report.measured.cameras is not None and (found := _hardest(report.measured.cameras)):
        yield Sentence(found)
    everybody, judged = report.measured.everybody, report.measured.judged
    if everybody and judged:
        above = [
            group
            for group in report.measured.groups
            if group.rates.identities >= ENOUGH_IDENTITIES
            and group.rates.false_positive.interval.low > everybody.false_positive.value
        ]
        if above:
            worst = max(above, key=lambda group: group.rates.false_positive.value)
            times = worst.rates.false_positive.value / everybody.false_positive.value
            yield Sentence(
                f"At the distance that takes {judged.false_positive_rate:g} of all strangers for the person, it takes "
                f"{times:.1f} times as many where the person's {TITLES[worst.attribute].lower()} "
                f"is annotated as {escape(worst.value)}.",
                "bad",
            )
    if report.attributes:
        weak = no_better_than_the_guess(report.attributes)
        named = ", ".join(TITLES[name].lower() for name in weak)
        known = sum(head.auc is not None for head in report.attributes.values())
        if weak:
            yield Sentence(f"{len(weak)} of {known} attributes are told no better than by a guess: {named}.", "bad")
        elif known:
            yield Sentence(f"All {known} attributes that differ between people are told better than by a guess.")


def _hardest(cameras: CameraPairs) -> str:
    reached = np.where(cameras.queries >= _ENOUGH, cameras.mAP, np.nan)
    if np.isfinite(reached).sum() < 2 or np.nanmin(reached) == np.nanmax(reached):
        return ""
    (asked, searched), (easy, easiest) = (
        np.unravel_index(place, reached.shape) for place in (np.nanargmin(reached), np.nanargmax(reached))
    )
    return (
        f"Between cameras it is hardest from {cameras.asked[asked]} to {cameras.searched[searched]} (mAP "
        f"{percent(reached[asked, searched], 0)}), easiest from {cameras.asked[easy]} to {cameras.searched[easiest]} "
        f"({percent(reached[easy, easiest], 0)})."
    )


def _signal(report: Report) -> Iterator[Sentence]:
    found = main_curve(report)
    if found is None:
        yield Sentence("It gives none: α was given.")
        return
    signal, curve = found
    name = SIGNALS[signal][0]
    gain = f"mean gain {points(curve.area)} points, {points(curve.interval.low)} to {points(curve.interval.high)}"
    sign = chance(curve.interval)
    said = {
        1: f"Yes, by its {name}: leaving up to {LIMIT:.0%} of the queries to a person, the worst first, raises the mAP "
        f"of the others ({gain}).",
        -1: f"No: it misleads. Without the queries that its {name} calls the worst, mAP falls ({gain}).",
        0: f"Not shown here: without the queries that its {name} calls the worst, mAP changes by no more than chance "
        f"({gain}).",
    }
    yield Sentence(said[sign], {1: "good", -1: "bad", 0: ""}[sign])
