"""report.html: the result of an evaluation, for people."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from client.evaluation import baseline
from client.evaluation.ablation import Ablation, correlation
from client.evaluation.describing import FailedImage
from client.page import crop, page
from client.report.examples import crops_by_quality, lists_of_queries
from client.report.report import Report
from qafm.attribute_metrics import HeadMetrics
from qafm.contract import QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.retrieval.bootstrap import Difference, Interval
from qafm.retrieval.discard import LIMIT, DiscardCurve
from qafm.retrieval.metrics import METRIC_LABELS, PROTOCOL, Metrics
from qafm.retrieval.verification import OperatingPoint

PAPER = {"rank1": 0.9305, "rank5": 0.9762, "rank10": 0.9860, "mAP": 0.8334}
"""What the paper reports for QAFM on Market-1501."""
PAPER_QUERIES, PAPER_GALLERY = 3_368, 15_913
"""How many images the test set of Market-1501 has."""

_RERANKED_NOTE = (
    "Re-ranked: k-reciprocal encoding (Zhong et al. 2017), which looks at all queries at once; a single request cannot."
)


def report_page(report: Report) -> str:
    """The whole page, its pictures in it."""
    metrics = report.metrics
    skipped = f", {metrics.skipped_queries:,} of them without a true match" if metrics.skipped_queries else ""
    body = f"""<header>
<h1>Person re-identification</h1>
<p>{escape(report.data)} at {escape(report.url)}, {escape(report.created)}<br>
Model {escape(report.model)}{_asked(*report.asked)}<br>
{metrics.queries:,} queries{skipped}, of {metrics.identities:,} identities; {metrics.gallery:,} gallery images</p>
</header>
{_failures(report.failed_images)}
<section class="tiles">{"".join(_tile(report, name) for name in ("rank1", "mAP", "mINP"))}</section>
<section><h2>Metrics</h2>
<table><thead><tr><th>Metric<th class="n">QAFM<th class="n">95 % interval<th class="n">Baseline<th class="n">Gain
{'<th class="n">Re-ranked' if report.reranked else ""}
{f'<th class="n">{report.abstained.title}' if report.abstained else ""}<th class="n">Paper</thead>
<tbody>{"".join(_metric_row(report, name) for name in METRIC_LABELS)}</tbody></table>
<p class="note">In per cent. Interval: by bootstrap over identities. Baseline: {escape(baseline.NAME)}, on the same
images. {_paper_note(metrics)}
{_RERANKED_NOTE if report.reranked else ""}</p></section>
{_charts(report)}
{_discard(report.discard)}
{_told(report.manifest.content.get("quality")) if report.identifiability is not None else ""}
{crops_by_quality(report.examples) if report.examples else ""}
{_verification(report.verification)}
{_ablation(report.ablation)}
{_attributes(report.attributes)}
{_heatmaps(report.heatmaps)}
{lists_of_queries(report.examples) if report.examples else ""}
<section><h2>Protocol</h2><p>{escape(PROTOCOL)}</p></section>
<section><h2>Time</h2>{_facts(report.timings)}</section>
<section><h2>What was served</h2>{_facts(_legible(report.manifest.content))}</section>"""
    return page(f"QAFM evaluation: mAP {_percent(metrics.mAP)}", body)


def _asked(ensemble: str | None, alpha: float | None) -> str:
    """How the ensemble differs from `qafm`."""
    if ensemble == QAFM_FAST:
        return ": quality by one learnt network instead of 35 views"
    return f": α = {alpha} for every image, no quality" if ensemble == QAFM_FIXED_ALPHA else ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _interval(ends: Interval | None, digits: int = 2) -> str:
    return ends.in_per_cent(digits) if ends else ""


def _tile(report: Report, name: str) -> str:
    value, yardstick = getattr(report.metrics, name), getattr(report.baseline, name)
    reached, mark = f"{100 * value:.1f}", f"{100 * yardstick:.1f}"
    ends = _interval(report.intervals.get(name), digits=1)
    return f"""
<div class="tile"><div class="label">{METRIC_LABELS[name]}</div>
<div class="value">{reached}<small>%</small></div>
<div class="bar" aria-hidden="true"><i style="width:{reached}%"></i><b style="left:{mark}%"></b></div>
<div class="note">{f"95 % interval {ends}<br>" if ends else ""}baseline {mark} %</div></div>"""


def _metric_row(report: Report, name: str) -> str:
    value, yardstick = getattr(report.metrics, name), getattr(report.baseline, name)
    ends = _interval(report.intervals.get(name))
    numbers = [_percent(value), ends, _percent(yardstick), f"{100 * (value - yardstick):+.2f}"]
    if report.reranked:
        numbers.append(_percent(getattr(report.reranked, name)))
    if report.abstained:
        numbers.append(_percent(getattr(report.abstained.metrics, name)))
    numbers.append(_percent(PAPER[name]) if name in PAPER else "")
    return f"<tr><th>{METRIC_LABELS[name]}" + "".join(f'<td class="n">{number}' for number in numbers)


def _paper_note(metrics: Metrics) -> str:
    note = "Paper: what it reports for Market-1501"
    if (metrics.queries, metrics.gallery) == (PAPER_QUERIES, PAPER_GALLERY):
        return f"{note}."
    return (
        f"{note}, {PAPER_QUERIES:,} queries and {PAPER_GALLERY:,} gallery images: this is another test, so the two "
        "cannot be compared."
    )


def _failures(failed: tuple[FailedImage, ...]) -> str:
    if not failed:
        return ""
    rows = "".join(f"<tr><th>{escape(image.path)}<td>{escape(image.reason)}" for image in failed)
    return f"""<section class="failed"><h2>Images that could not be described: {len(failed):,}</h2>
<p>They are left out of every number below.</p><table><tbody>{rows}</tbody></table></section>"""


def _charts(report: Report) -> str:
    # Matplotlib takes long to load, and nothing else needs it.
    from client.report.charts import cmc_curve, histogram, scatter

    charts, note = [cmc_curve(report.metrics, report.baseline)], ""
    if report.alpha is not None and report.identifiability is not None:
        charts += [
            histogram(report.identifiability, "identifiability score Q"),
            histogram(report.alpha, "weight α"),
            scatter(report.identifiability, report.alpha, "identifiability score Q", "weight α"),
        ]
        r = correlation(report.identifiability, report.alpha)
        note = f"""
<p class="note">Q is higher for a picture that is harder to identify. α is the weight of the visual branch.
{"" if r is None else f"Pearson's r of the two is {r:+.2f}."}</p>"""
    return f"""<section><h2>Curves</h2><div class="charts">{"".join(charts)}</div>{note}</section>"""


def _discard(curves: dict[str, DiscardCurve]) -> str:
    if not curves:
        return ""
    from client.report.charts import discard_chart

    rows = "".join(
        f'<tr><th>{escape(name)}<td class="n">{Difference(curve.area, curve.interval).in_per_cent()}'
        for name, curve in curves.items()
    )
    return f"""<section><h2>What quality is worth</h2><div class="charts">{discard_chart(curves)}
<table><thead><tr><th>Quality by<th class="n">Mean gain</thead><tbody>{rows}</tbody></table></div>
<p class="note">The mAP that is left once the queries of the worst quality are left to a person, and its mean gain up to
{LIMIT:.0%} left out, in percentage points, with its 95 % interval by bootstrap over identities. A signal of no worth
gains nothing. identifiability: the lowest Q is best; scatter: the mean distance of the 34 perturbed views.</p>
</section>"""


def _told(quality: Any) -> str:
    """What the export measured of the signals of quality, on pictures that it made worse itself."""
    kinds = {kind: about for kind, about in quality.items() if kind != "discard"} if isinstance(quality, dict) else {}
    if not kinds:
        return ""
    signals = next(iter(kinds.values()))["spearman"]
    rows = ""
    for kind, about in kinds.items():
        cells = ["" if value is None else f"{value:+.2f}" for value in about["spearman"].values()]
        numbers = "".join(f'<td class="n">{cell}' for cell in (*cells, f"{about['n']:,}"))
        rows += f"<tr><th>{escape(kind.replace('_', ' '))}{numbers}"
    heads = "".join(f'<th class="n">{escape(name)}' for name in signals)
    return f"""<section><h2>What quality tells</h2>
<table><thead><tr><th>Degradation{heads}<th class="n">Images</thead><tbody>{rows}</tbody></table>
<p class="note">Measured at the export, by 35 views, on images of held-out people that were degraded in one known way
each: the rank correlation of how badly, with how bad the signal says the image is. 1 is best, 0 is no relation; below 0
the signal says that images get better as they get worse.</p></section>"""


def _verification(points: list[OperatingPoint]) -> str:
    if not points:
        return ""
    rows = "".join(
        f'<tr><th>{point.false_positive_rate:g}<td class="n">{_percent(point.true_positive_rate)}'
        f'<td class="n">{point.threshold:.4f}'
        for point in points
    )
    return f"""<section><h2>One threshold for all pairs</h2>
<table><thead><tr><th>False positive rate<th class="n">True positive rate, %<th class="n">Distance</thead>
<tbody>{rows}</tbody></table>
<p class="note">A query and a gallery image are taken for one person up to this Euclidean distance of their descriptors.
The rates: of the pairs of two people, and of the pairs of one person by two cameras, the part that this accepts.</p>
</section>"""


def _ablation(ablation: Ablation | None) -> str:
    """Table 4 of the paper, with a column for each level of degradation where that is recorded."""
    if ablation is None:
        return ""
    levels = ablation.degradation.queries if ablation.degradation else {}
    heads = "".join(f'<th class="n">mAP, {escape(name)} ({count:,})' for name, count in levels.items())
    rows = ""
    for row in ablation.rows:
        by_level = ablation.degradation.rows[row.name] if ablation.degradation else {}
        cells = ["" if weight is None else str(weight) for weight in (row.alpha, row.paper_alpha)]
        cells += [_percent(value) for value in (row.metrics.rank1, row.metrics.rank5, row.metrics.mAP)]
        cells.append(row.difference["mAP"].in_per_cent() if row.difference else "")
        cells += [_percent(by_level[name]) if name in by_level else "" for name in levels]
        rows += f"<tr><th>{escape(row.name)}" + "".join(f'<td class="n">{cell}' for cell in cells)
    return f"""<section><h2>α and the branches (the paper's Table 4)</h2>
<table><thead><tr><th><th class="n">α<th class="n">Paper's α<th class="n">Rank-1<th class="n">Rank-5<th class="n">mAP
<th class="n">Difference in mAP{heads}</thead><tbody>{rows}</tbody></table>
<p class="note">In per cent. Difference: to the first row, query by query, with its 95 % interval. α is the weight of
APN; the paper's table has 1 − α. α here: mean
{ablation.alpha_mean:.3f}, standard deviation {ablation.alpha_sd:.4f}.</p></section>"""


def _attributes(attributes: dict[str, HeadMetrics]) -> str:
    if not attributes:
        return ""
    rows = ""
    for name, head in attributes.items():
        numbers = [_percent(value) for value in (head.accuracy, head.majority, head.balanced_accuracy)]
        numbers.append(_interval(head.balanced_accuracy_interval))
        numbers += ["" if head.auc is None else _percent(head.auc), f"{head.images:,}"]
        rows += f"<tr><th>{escape(name)}" + "".join(f'<td class="n">{number}' for number in numbers)
    return f"""<section><h2>Attributes</h2>
<table><thead><tr><th><th class="n">Accuracy<th class="n">Most frequent value<th class="n">Balanced accuracy
<th class="n">95 % interval<th class="n">AUC<th class="n">Images</thead>
<tbody>{rows}</tbody></table>
<p class="note">In per cent, over query and gallery images whose identity is annotated. Always answering the most
frequent value would reach the second column. Balanced accuracy is the mean over the values of how many of their images
are told right: always the same of K values reaches 100/K. Its interval is by bootstrap over identities, and says little
where few have a value. AUC: how often an image with a value is given a higher probability of it than one without; of
several values, the mean.</p></section>"""


def _heatmaps(heatmaps: Mapping[str, bytes]) -> str:
    if not heatmaps:
        return ""
    figures = "".join(crop(picture, f"heat maps of {name}", escape(name)) for name, picture in heatmaps.items())
    return f"""<section><h2>What the branches look at</h2><div class="maps">{figures}</div>
<p class="note">The crop; where the appearance branch has large features; where the attribute branch has them.</p>
</section>"""


def _facts(facts: dict[str, Any]) -> str:
    """A table of names and values; a value that is itself a table is shown inside."""
    rows = "".join(f"<tr><th>{escape(str(name))}<td>{_fact(value)}" for name, value in facts.items())
    return f"<table><tbody>{rows}</tbody></table>"


def _legible(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is there for programs alone: the weights of the diagnosis."""
    defects = manifest.get("diagnosis") or {}
    told = {name: {key: about[key] for key in about if key != "weights"} for name, about in defects.items()}
    return {**manifest, "diagnosis": told} if defects else dict(manifest)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return _facts(value)
    if isinstance(value, list):
        return ", ".join(_fact(entry) for entry in value)
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))
