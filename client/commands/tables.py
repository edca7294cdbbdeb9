"""The tables that the `client` command prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from qafm.retrieval.metrics import METRIC_LABELS, Metrics
from qafm.retrieval.verification import OperatingPoint

if TYPE_CHECKING:
    from client.evaluation.ablation import Ablation
    from client.gallery.search import Found
    from client.load import Load
    from qafm.attribute_metrics import HeadMetrics


def metrics(columns: dict[str, Metrics | None]) -> Table:
    """The headline metrics in per cent, a column for each that there is."""
    given = {name: values for name, values in columns.items() if values}
    table = Table()
    table.add_column("Metric")
    for name in given:
        table.add_column(name, justify="right")
    for name, label in METRIC_LABELS.items():
        table.add_row(label, *(f"{100 * getattr(values, name):.2f}" for values in given.values()))
    return table


def counts(values: Metrics) -> str:
    """How many images the metrics are of."""
    skipped = f" ({values.skipped_queries:,} without a true match left out)" if values.skipped_queries else ""
    return f"{values.queries:,} queries{skipped}, {values.gallery:,} gallery images"


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


def attributes(heads: dict[str, HeadMetrics]) -> Table:
    """How often each attribute is predicted right, in per cent, beside what its most frequent value would reach."""
    table = Table(title="Attributes")
    table.add_column("")
    for name in ("Accuracy", "Most frequent", "Images"):
        table.add_column(name, justify="right")
    for name, head in heads.items():
        table.add_row(name, f"{100 * head.accuracy:.1f}", f"{100 * head.majority:.1f}", f"{head.images:,}")
    return table


def ablation(result: Ablation) -> Table:
    """The paper's Table 4, with a column for each level of degradation where that is recorded."""
    levels = result.degradation.queries if result.degradation else {}
    table = Table(title="α and the branches (the paper's Table 4)")
    table.add_column("", no_wrap=True)
    for name in ("α", "paper's α", "Rank-1", "Rank-5", "mAP"):
        table.add_column(name, justify="right")
    for name, count in levels.items():
        table.add_column(f"mAP, {name} ({count})", justify="right")
    for name, weights, fractions in result.table():
        cells = ["" if weight is None else f"{weight:.1f}" for weight in weights]
        cells += ["" if fraction is None else f"{100 * fraction:.2f}" for fraction in fractions]
        table.add_row(name, *cells)
    return table


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
