"""The section on the quality signal: what it is worth on these queries, what it follows, and where it misleads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from client.evaluation.ablation import correlation
from client.page import Section, breakable, crop
from client.report.charts import discard_chart, histogram, scatter
from client.report.examples import Examples, Scored
from client.report.parts import Cell, chance, download, note, points, table
from client.report.pictures import thumbnail
from client.report.report import Report
from client.report.verdict import main_curve
from client.report.words import SIGNALS
from qafm.quality import beyond_chance
from qafm.retrieval.discard import LIMIT


def quality_section(report: Report) -> Section | None:
    """None where no quality was computed."""
    if report.identifiability is None:
        return None
    return Section(
        "quality",
        "What quality is worth",
        "".join(f'<p class="bad">{warning}</p>' for warning in _warnings(report))
        + _discard(report)
        + _told(report.manifest.content.get("quality"))
        + (poorest_and_finest(report.examples) if report.examples else "")
        + _spread(report),
    )


def _warnings(report: Report) -> Iterator[str]:
    found = main_curve(report)
    if found and chance(found[1].interval) < 0:
        yield f"On these queries {SIGNALS[found[0]][0]} misleads: pictures that it calls poor are found more easily."
    signal = report.examples and report.examples.signal
    quality = report.manifest.content.get("quality")
    if not signal or not isinstance(quality, Mapping):
        return
    for kind, about in quality.items():
        told = about["spearman"].get(signal) if kind != "discard" else None
        if told is not None and beyond_chance(-told, about["n"]):
            yield (
                f"According to its {SIGNALS[signal][0]} pictures get better as they get worse by "
                f"{escape(kind.replace('_', ' '))}: do not trust it on those."
            )


def _discard(report: Report) -> str:
    curves = report.measured.discard
    if not curves:
        return ""
    rows = []
    for name, curve in curves.items():
        sign = chance(curve.interval)
        cell = f"{points(curve.area)} ({points(curve.interval.low)} to {points(curve.interval.high)})"
        rows.append([escape(name), Cell(f"▼ {cell}", "n bad") if sign < 0 else cell])
    listed: list[list[object]] = [["signal", "left_out", "mAP"]]
    listed += [[name, *pair] for name, curve in curves.items() for pair in zip(curve.fractions, curve.mAP, strict=True)]
    return f'<div class="charts">{discard_chart(curves)}{table(["Quality by", "Mean gain in mAP"], rows)}</div>' + note(
        "The mAP that is left once the queries of the worst quality are left to a person, and its mean gain up to "
        f"{LIMIT:.0%} left out, in percentage points, with its 95 % interval by bootstrap over identities. A signal "
        "of no worth gains nothing. identifiability: the lowest Q is best; scatter: the mean distance of the 34 "
        f"perturbed views. Data: {download('discard.csv', listed)}"
    )


def _told(quality: Any) -> str:
    """What the export measured of the signals of quality, on pictures that it made worse itself."""
    kinds = {kind: about for kind, about in quality.items() if kind != "discard"} if isinstance(quality, dict) else {}
    if not kinds:
        return ""
    signals = next(iter(kinds.values()))["spearman"]
    rows: list[list[str | Cell]] = []
    for kind, about in kinds.items():
        cells: list[str | Cell] = [escape(kind.replace("_", " "))]
        for value in about["spearman"].values():
            wrong = value is not None and beyond_chance(-value, about["n"])
            shown = "" if value is None else f"{value:+.2f}"
            cells.append(Cell(f"▼ {shown}", "n bad") if wrong else shown)
        rows.append([*cells, f"{about['n']:,}"])
    return (
        "<h3>What it follows</h3>"
        + table(["Degradation", *(escape(name) for name in signals), "Images"], rows)
        + note(
            "Measured at the export, by 35 views, on images of held-out people that were degraded in one known way "
            "each: the rank correlation of how badly, with how bad the signal says the image is. 1 is best, 0 is no "
            "relation; below 0 the signal says that images get better as they get worse."
        )
    )


def poorest_and_finest(examples: Examples) -> str:
    """The pictures of the best and the worst quality by the main signal (the paper's Figs. 4 and 5)."""
    if examples.signal is None:
        return ""
    name, sign = SIGNALS[examples.signal]

    def row(images: Sequence[Scored]) -> str:
        shown = (
            crop(
                thumbnail(examples.root / image.path),
                image.path,
                f"{sign * image.quality:.3f}<br>{breakable(Path(image.path).stem)}",
            )
            for image in images
        )
        return f'<div class="crops">{"".join(shown)}</div>'

    return (
        f"<h3>The best pictures, by their {name}</h3>{row(examples.finest)}"
        f"<h3>The poorest pictures, by their {name}</h3>{row(examples.poorest)}"
    )


def _spread(report: Report) -> str:
    if report.alpha is None or report.identifiability is None:
        return ""
    r = correlation(report.identifiability, report.alpha)
    charts = [histogram(report.identifiability, "identifiability score Q")]
    said = "Q is higher for a picture that is harder to identify. α is the weight of the visual branch"
    if r is None:
        # One α for all pictures has neither a spread nor a course.
        said += f", here {report.alpha.mean():.3f} for every image."
    else:
        charts += [
            histogram(report.alpha, "weight α"),
            scatter(report.identifiability, report.alpha, "identifiability score Q", "weight α"),
        ]
        said += f". Pearson's r of the two is {r:+.2f}."
    return f'<h3>Q and α over all images</h3><div class="charts">{"".join(charts)}</div>{note(said)}'
