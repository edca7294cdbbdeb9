"""The tables that the `client` command prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from qafm.retrieval.bootstrap import Difference
from qafm.retrieval.discard import LIMIT, DiscardCurve
from qafm.retrieval.metrics import METRIC_LABELS, Metrics
from qafm.retrieval.verification import OperatingPoint

if TYPE_CHECKING:
    from client.evaluation.ablation import Ablation
    from client.evaluation.earlier import Changes, Evaluated
    from client.gallery.search import Found
    from client.load import Load
    from qafm.attribute_metrics import HeadMetrics
    from qafm.retrieval.abstention import Abstention
    from qafm.retrieval.bootstrap import Interval
    from qafm.retrieval.score import Comparison, Score

DISCARDED = (0, 0.1, 0.2, 0.3)
"""The fractions of a discard curve that are printed."""


def metrics(columns: dict[str, Metrics | None], intervals: dict[str, Interval]) -> Table:
    """The headline metrics in per cent, a column for each that there is. intervals: of the first one, by metric."""
    given = {name: values for name, values in columns.items() if values}
    table = Table()
    table.add_column("Metric")
    for place, name in enumerate(given):
        table.add_column(name, justify="right")
        if not place:
            table.add_column("95 % interval", justify="right")
    for name, label in METRIC_LABELS.items():
        first, *others = (f"{100 * getattr(values, name):.2f}" for values in given.values())
        table.add_row(label, first, _interval(intervals.get(name)), *others)
    return table


def abstained(found: Abstention | None) -> dict[str, Metrics | None]:
    """A column for `metrics`, where queries were left out."""
    return {found.title: found.metrics} if found else {}


def comparison(result: Score, found: Comparison) -> Table:
    """Two results of the same queries side by side."""
    table = Table(title="Compared, query by query")
    table.add_column("Metric")
    for name in ("%", "Against", "Difference (95 % interval)"):
        table.add_column(name, justify="right")
    for name, each in found.differences.items():
        own, other = (f"{100 * getattr(one.metrics, name):.2f}" for one in (result, found.against))
        table.add_row(METRIC_LABELS[name], own, other, each.in_per_cent())
    return table


def evaluations(first: Evaluated, compared: list[Changes]) -> Table:
    """Reports beside the first one."""
    table = Table()
    for name in ("Report", "Model"):
        table.add_column(name, overflow="fold")
    for name in ("Rank-1 %", "mAP %", "Difference in mAP (95 % interval)", "Better", "Worse"):
        table.add_column(name, justify="right")

    def cells(each: Evaluated) -> tuple[str, ...]:
        return escape(each.name), escape(each.model), f"{100 * each.rank1:.2f}", f"{100 * each.mAP:.2f}"

    table.add_row(*cells(first))
    for found in compared:
        changed = (f"{len(queries):,}" for queries in (found.better, found.worse))
        table.add_row(*cells(found.after), found.differences["mAP"].in_per_cent(), *changed)
    return table


def changes(found: Changes, shown: int) -> Table:
    """The queries of a report that changed most."""
    table = Table(title=f"Queries of {escape(found.after.name)} that changed most")
    table.add_column("Query", overflow="fold")
    for name in ("Before", "After", "Change"):
        table.add_column(name, justify="right")
    for group in (found.better, found.worse):
        for change in group[:shown]:
            numbers = (f"{100 * change.before:.1f}", f"{100 * change.after:.1f}", f"{100 * change.gain:+.1f}")
            table.add_row(escape(change.path), *numbers)
        table.add_section()
    return table


def counts(values: Metrics) -> str:
    """How many images the metrics are of."""
    skipped = f" ({values.skipped_queries:,} without a true match left out)" if values.skipped_queries else ""
    return f"{values.queries:,} queries{skipped} of {values.identities:,} identities, {values.gallery:,} gallery images"


def verification(points: list[OperatingPoint], distance: str = "euclidean") -> Table:
    """What one threshold for all pairs accepts. distance: the name of the one that the threshold is of."""
    table = Table(title="One threshold for all pairs")
    for name in ("False positives", "True positives %", f"{distance.capitalize()} distance"):
        table.add_column(name, justify="right")
    for point in points:
        table.add_row(
            f"{point.false_positive_rate:g}", f"{100 * point.true_positive_rate:.2f}", f"{point.threshold:.4f}"
        )
    return table


def discard(curves: dict[str, DiscardCurve]) -> Table:
    """mAP in per cent once the queries of the worst quality are left out, and the area between."""
    table = Table(title="mAP without the queries of the worst quality")
    table.add_column("by")
    shown = [fraction for fraction in next(iter(curves.values())).fractions if fraction in DISCARDED]
    for fraction in shown:
        table.add_column(f"{fraction:.0%} out" if fraction else "none out", justify="right")
    table.add_column(f"Mean gain up to {LIMIT:.0%} (95 % interval)", justify="right")
    for name, curve in curves.items():
        left = dict(zip(curve.fractions, curve.mAP, strict=True))
        gain = Difference(curve.area, curve.interval)
        table.add_row(name, *(f"{100 * left[fraction]:.2f}" for fraction in shown), gain.in_per_cent())
    return table


def attributes(heads: dict[str, HeadMetrics]) -> Table:
    """How well each attribute is predicted, in per cent, beside what its most frequent value would reach."""
    table = Table(title="Attributes")
    table.add_column("")
    for name in ("Accuracy", "Most frequent", "Balanced", "95 % interval", "AUC", "Images"):
        table.add_column(name, justify="right")
    for name, head in heads.items():
        table.add_row(
            name,
            *(f"{100 * value:.1f}" for value in (head.accuracy, head.majority, head.balanced_accuracy)),
            _interval(head.balanced_accuracy_interval),
            "" if head.auc is None else f"{100 * head.auc:.1f}",
            f"{head.images:,}",
        )
    return table


def ablation(result: Ablation) -> Iterator[Table]:
    """The paper's Table 4, and where degradations are recorded the mAP at each level of them.

    A difference is that to the first row, in percentage points, with its 95 % interval.
    """
    table = Table(title="α and the branches (the paper's Table 4)")
    for name in ("", "α", "paper's α", "Rank-1", "Rank-5", "mAP", "Difference in mAP"):
        table.add_column(name, justify="right" if name else "left")
    for row in result.rows:
        weights = ["" if weight is None else str(weight) for weight in (row.alpha, row.paper_alpha)]
        reached = (f"{100 * value:.2f}" for value in (row.metrics.rank1, row.metrics.rank5, row.metrics.mAP))
        table.add_row(row.name, *weights, *reached, row.difference["mAP"].in_per_cent() if row.difference else "")
    yield table
    if result.degradation:
        table = Table(title="mAP by degradation")
        table.add_column("")
        for name, count in result.degradation.queries.items():
            table.add_column(f"{name} ({count:,})", justify="right")
        for row in result.rows:
            by_level = result.degradation.rows[row.name]
            cells = (f"{100 * by_level[name]:.2f}" if name in by_level else "" for name in result.degradation.queries)
            table.add_row(row.name, *cells)
        yield table


def correlations(result: Ablation) -> str:
    """How far α spreads, and its correlation with Q and Q's with the strength of a degradation."""
    named = {"r(Q, α)": result.q_alpha_r}
    if result.degradation:
        named["r(Q, strength)"] = result.degradation.q_strength_r
    parts = (f"{name} = {'none' if r is None else format(r, '+.3f')}" for name, r in named.items())
    return (
        f"α from {result.alpha_min:.3f} to {result.alpha_max:.3f}, mean {result.alpha_mean:.3f}, "
        f"sd {result.alpha_sd:.4f}; {', '.join(parts)}"
    )


def loads(model: str, measured: list[Load]) -> Iterator[Table]:
    """Throughput and latency at each concurrency, and the time in each composing model at the best of them."""
    table = Table(title=f"{model} under load")
    for name in ("In flight", "images/s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for load in measured:
        latencies = (f"{value:.0f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
        table.add_row(str(load.concurrency), f"{load.images_per_second:.2f}", *latencies)
    yield table
    best = max(measured, key=lambda load: load.images_per_second)
    table = Table(title=f"A request in each model, {best.concurrency} in flight")
    table.add_column("")
    for name in ("queue ms", "compute ms"):
        table.add_column(name, justify="right")
    for name, time_in in best.models.items():
        table.add_row(name, f"{time_in.queue_ms:.1f}", f"{time_in.compute_ms:.1f}")
    yield table


def nearest(crops: list[Found]) -> Table:
    """The result of a search, nearest first; with a column for the person where names of the gallery tell who it is."""
    table = Table()
    table.add_column("", justify="right")
    table.add_column("Distance", justify="right")
    named = any(crop.person for crop in crops)
    if named:
        table.add_column("Person")
    table.add_column("Image", overflow="fold")
    for rank, crop in enumerate(crops, start=1):
        person = [escape(crop.person or "")] if named else []
        table.add_row(str(rank), f"{crop.distance:.3f}", *person, escape(str(crop.path)))
    return table


def _interval(ends: Interval | None) -> str:
    return ends.in_per_cent() if ends else ""
