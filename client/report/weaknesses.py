"""Sections on where a model is bad: between which cameras, for whom, and which attributes."""

from __future__ import annotations

from html import escape

import numpy as np

from client.evaluation.ablation import Ablation
from client.evaluation.measures import ENOUGH_IDENTITIES
from client.page import Section
from client.report.parts import Cell, download, interval, note, percent, table
from client.report.report import Report
from client.report.verdict import no_better_than_the_guess
from client.report.words import TITLES
from qafm.attribute_metrics import HeadMetrics
from qafm.retrieval.acceptance import Rate, Rates
from qafm.retrieval.cameras import CameraPairs


def cameras_section(cameras: CameraPairs | None) -> Section | None:
    """mAP from each camera to each other."""
    if cameras is None or cameras.mAP.size < 2 or np.isnan(cameras.mAP).all():
        return None
    low, high = np.nanmin(cameras.mAP), np.nanmax(cameras.mAP)
    rows, listed = [], [["from", "to", "mAP", "queries"]]
    for asked, reached, queries in zip(cameras.asked.tolist(), cameras.mAP, cameras.queries, strict=True):
        cells: list[str | Cell] = [f"camera {asked}"]
        for searched, value, count in zip(cameras.searched.tolist(), reached.tolist(), queries.tolist(), strict=True):
            if np.isnan(value):
                cells.append(Cell("–", "n gone"))
                continue
            # Shade by fifths between the hardest and the easiest pair.
            shade = int(4.999 * (value - low) / (high - low)) if high > low else 4
            cells.append(Cell(f"{percent(value, 0)}<small> {count:,}</small>", f"n shade{shade}"))
            listed.append([asked, searched, value, count])
        rows.append(cells)
    return Section(
        "cameras",
        "Camera by camera",
        table(["mAP, % (queries)", *(f"to {camid}" for camid in cameras.searched.tolist())], rows)
        + note(
            "The queries of one camera, looked for among the gallery images of one other: fewer strangers, so higher "
            f"than over all. Darker is easier. Data: {download('cameras.csv', listed)}"
        ),
    )


def groups_section(report: Report) -> Section | None:
    """What the same threshold accepts for whom."""
    judged, everybody = report.measured.judged, report.measured.everybody
    if judged is None or everybody is None or not report.measured.groups:
        return None
    rows: list[list[str | Cell]] = [["everybody", *_rates(everybody)]]
    for group in report.measured.groups:
        rows.append(
            [f"{escape(TITLES[group.attribute])}: {escape(group.value)}", *_rates(group.rates, beside=everybody)]
        )
    return Section(
        "groups",
        "The same threshold for everybody: whom does it serve worse?",
        table(
            ["Queries of", "Identities", "True positives, %", "95 % interval", "False positives, %", "95 % interval"],
            rows,
        )
        + note(
            f"A distance of up to {judged.threshold:.4f}, which accepts {judged.false_positive_rate:g} of all pairs of "
            "two people. By the annotated attributes of the query's person. Marked: worse than for everybody, by "
            "the interval; of twelve groups that happens to some by chance. Of fewer than "
            f"{ENOUGH_IDENTITIES} identities an interval says nothing, and nothing is marked."
        ),
    )


def _rates(rates: Rates, beside: Rates | None = None) -> list[str | Cell]:
    worse_true = worse_false = False
    if beside is not None and rates.identities >= ENOUGH_IDENTITIES:
        worse_true = rates.true_positive.interval.high < beside.true_positive.value
        worse_false = rates.false_positive.interval.low > beside.false_positive.value
    return [
        f"{rates.identities:,}",
        *_rate(rates.true_positive, 2, worse_true),
        *_rate(rates.false_positive, 3, worse_false),
    ]


def _rate(rate: Rate, digits: int, worse: bool) -> list[str | Cell]:
    shown = percent(rate.value, digits)
    return [Cell(f"▼ {shown}", "n bad") if worse else shown, interval(rate.interval, digits)]


def attributes_section(attributes: dict[str, HeadMetrics]) -> Section | None:
    """How well each attribute is told, beside what a guess would reach."""
    if not attributes:
        return None
    weak = no_better_than_the_guess(attributes)
    rows: list[list[str | Cell]] = []
    for name, head in attributes.items():
        balanced = percent(head.balanced_accuracy, 1)
        rows.append(
            [
                escape(TITLES.get(name, name)),
                Cell(f"▼ {balanced}", "n bad") if name in weak else balanced,
                interval(head.balanced_accuracy_interval, 1),
                percent(head.accuracy, 1),
                percent(head.majority, 1),
                "" if head.auc is None else percent(head.auc, 1),
                f"{head.images:,}",
            ]
        )
    return Section(
        "attributes",
        "Attributes",
        table(
            ["", "Balanced accuracy", "95 % interval", "Accuracy", "Most frequent value", "AUC", "Images"],
            rows,
        )
        + note(
            "In per cent, over query and gallery images whose identity is annotated. Balanced accuracy is the mean "
            "over the values of how many of their images are told right: always the same value reaches 100/K, where K "
            "occur. Its interval is by bootstrap over identities, and says little where few have a value. Marked: no "
            "better than that, beyond chance. Accuracy alone deceives: always answering the most frequent value would "
            "reach the column beside it. AUC: how often an image with a value is given a higher probability of it than "
            "one without; of several values, the mean."
        ),
    )


def ablation_section(ablation: Ablation | None) -> Section | None:
    """Table 4 of the paper, with a column for each level of degradation where that is recorded."""
    if ablation is None:
        return None
    levels = ablation.degradation.queries if ablation.degradation else {}
    rows = []
    for row in ablation.rows:
        by_level = ablation.degradation.rows[row.name] if ablation.degradation else {}
        cells = ["" if weight is None else str(weight) for weight in (row.alpha, row.paper_alpha)]
        cells += [percent(value) for value in (row.metrics.rank1, row.metrics.rank5, row.metrics.mAP)]
        cells.append(row.difference["mAP"].in_per_cent() if row.difference else "")
        cells += [percent(by_level[name]) if name in by_level else "" for name in levels]
        rows.append([escape(row.name), *cells])
    return Section(
        "alpha",
        "α and the branches (the paper's Table 4)",
        table(
            [
                *("", "α", "Paper's α", "Rank-1", "Rank-5", "mAP", "Difference in mAP"),
                *(f"mAP, {escape(name)} ({count:,})" for name, count in levels.items()),
            ],
            rows,
        )
        + note(
            "In per cent. Difference: to the first row, query by query, with its 95 % interval. α is the weight of "
            f"APN; the paper's table has 1 − α. α here: mean {ablation.alpha_mean:.3f}, standard deviation "
            f"{ablation.alpha_sd:.4f}."
        ),
    )
