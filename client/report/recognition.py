"""Sections on how good the ranking is: the metrics, what changed since another evaluation, one threshold for all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from client.evaluation import baseline
from client.evaluation.earlier import Change
from client.page import Section, breakable, crop, when
from client.report.charts import cmc_curve, roc_curve
from client.report.parts import download, interval, note, percent, points, table
from client.report.pictures import thumbnail
from client.report.report import Report
from qafm.retrieval.metrics import METRIC_LABELS, Metrics

PAPER = {"rank1": 0.9305, "rank5": 0.9762, "rank10": 0.9860, "mAP": 0.8334}
"""What the paper reports for QAFM on Market-1501."""
PAPER_QUERIES, PAPER_GALLERY = 3_368, 15_913
"""How many images the test set of Market-1501 has."""
SHOWN_CHANGES = 8


def metrics_section(report: Report) -> Section:
    """The headline metrics in every form, and the curve of rank k."""
    reranked, abstained = report.measured.reranked, report.measured.abstained
    of_paper = is_market1501(report.metrics)
    heads = ["Metric", "QAFM", "95 % interval", "Baseline", "Gain"]
    heads += ["Re-ranked"] if reranked else []
    heads += [abstained.title] if abstained else []
    heads += ["Paper"] if of_paper else []
    rows = []
    for name, label in METRIC_LABELS.items():
        value, yardstick = getattr(report.metrics, name), getattr(report.baseline, name)
        cells = [label, percent(value), interval(report.measured.intervals.get(name)), percent(yardstick)]
        cells.append(points(value - yardstick, 2))
        cells += [percent(getattr(one, name)) for one in (reranked, abstained and abstained.metrics) if one]
        cells += [percent(PAPER[name]) if name in PAPER else ""] if of_paper else []
        rows.append(cells)
    said = (
        f"In per cent. Interval: by bootstrap over identities. Baseline: {escape(baseline.NAME)}, on the same images."
    )
    if of_paper:
        said += " Paper: what it reports."
    if reranked:
        said += (
            " Re-ranked: k-reciprocal encoding (Zhong et al. 2017), which looks at all queries at once; a single "
            "request cannot."
        )
    ranks: list[list[object]] = [["rank", "qafm", "baseline"]]
    curves = zip(report.metrics.cmc.tolist(), report.baseline.cmc.tolist(), strict=True)
    ranks += [[rank, *both] for rank, both in enumerate(curves, start=1)]
    return Section(
        "metrics",
        "Metrics",
        f"{table(heads, rows)}{note(said)}"
        f'<div class="charts">{cmc_curve(report.metrics, report.baseline)}</div>'
        f"{note('Data: ' + download('cmc.csv', ranks) + ', ' + download('queries.csv', report.queries))}",
    )


def is_market1501(metrics: Metrics) -> bool:
    """By the numbers of its images: the paper's figures are of no other."""
    return (metrics.queries, metrics.gallery) == (PAPER_QUERIES, PAPER_GALLERY)


def threshold_section(report: Report) -> Section | None:
    """What one distance for all pairs accepts."""
    if not report.verification:
        return None
    rows = [
        [f"{point.false_positive_rate:g}", percent(point.true_positive_rate), f"{point.threshold:.4f}"]
        for point in report.verification
    ]
    chart = data = ""
    if report.measured.roc is not None:
        chart = f'<div class="charts">{roc_curve(report.measured.roc, report.verification)}</div>'
        columns = [values.tolist() for values in report.measured.roc]
        data = f"Data: {download('roc.csv', [['threshold', 'fpr', 'tpr'], *zip(*columns, strict=True)])}. "
    return Section(
        "threshold",
        "One threshold for all pairs",
        f"{table(['False positive rate', 'True positive rate, %', 'Distance'], rows)}{chart}"
        + note(
            f"{data}A query and a gallery image are taken for one person up to this Euclidean distance of their "
            "descriptors. The rates: of the pairs of two people, and of the pairs of one person by two cameras, the "
            "part that this accepts. `client search --threshold` takes such a distance."
        ),
    )


def changes_section(report: Report) -> Section | None:
    """What is better and what is worse than in another evaluation of the same queries."""
    found = report.against
    if found is None:
        return None
    rows = [
        [METRIC_LABELS[name], percent(before), percent(getattr(report.metrics, name)), each.in_per_cent()]
        for (name, each), before in zip(found.differences.items(), (found.before.rank1, found.before.mAP), strict=True)
    ]
    pictures = "".join(
        f"<h3>{title}</h3>{_changed(report, changes)}"
        for title, changes in (("Most improved", found.better), ("Most worsened", found.worse))
        if changes
    )
    listed: list[list[object]] = [["path", "pid", "ap", "before"]]
    listed += [[each.path, each.pid, f"{each.after:.6g}", f"{each.before:.6g}"] for each in found.changes]
    warning = f"; {found.warning}" if found.warning else ""
    return Section(
        "changes",
        f"Beside {escape(found.before.model or found.before.name)}",
        table(["Metric", "Before, %", "Now, %", "Difference (95 % interval)"], rows)
        + note(
            f"{len(found.better):,} of {len(found.changes):,} queries have an average precision at least a point "
            f"better, {len(found.worse):,} at least a point worse. Compared with {escape(found.before.name)}, of "
            f"{when(found.before.created)}, query by query{warning}. Data: {download('changes.csv', listed)}"
        )
        + pictures,
    )


def _changed(report: Report, changes: Sequence[Change]) -> str:
    root = report.examples.root if report.examples else None
    figures = (
        crop(
            thumbnail(root / change.path) if root else b"",
            change.path,
            f"{percent(change.before, 0)} → {percent(change.after, 0)}<br>{breakable(Path(change.path).stem)}",
        )
        for change in changes[:SHOWN_CHANGES]
    )
    return f'<div class="crops">{"".join(figures)}</div>'
