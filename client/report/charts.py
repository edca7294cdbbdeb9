"""The charts of a report, as SVG inside the page. Their colours are the page's own: they follow light and dark."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qafm.retrieval.discard import DiscardCurve
from qafm.retrieval.metrics import CMC_LENGTH, Metrics
from qafm.retrieval.verification import OperatingPoint

# Charts are drawn in these colours, which are then replaced by the page's variables.
_TEXT, _LINE, _ACCENT, _SOFT = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {_TEXT: "text", _LINE: "line", _ACCENT: "accent", _SOFT: "soft"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
}
_SIZE = (5.2, 3.2)
_BINS = 40


def cmc_curve(metrics: Metrics, baseline: Metrics) -> str:
    """Rank-k in per cent, k from 1 to 50."""
    with _chart("Cumulative matching characteristic") as (axes, svg):
        ranks = np.arange(1, CMC_LENGTH + 1)
        axes.plot(ranks, 100 * metrics.cmc, color=_ACCENT, linewidth=2, label="QAFM")
        axes.plot(ranks, 100 * baseline.cmc, color=_SOFT, linestyle="--", label="baseline")
        axes.set(xlabel="rank", ylabel="queries with a hit, %", xlim=(1, CMC_LENGTH), ylim=(0, 100))
        axes.legend(loc="lower right")
    return svg.getvalue()


def roc_curve(roc: Sequence[NDArray[np.float64]], points: Sequence[OperatingPoint]) -> str:
    """The true positive rate at each false positive rate, in per cent, with the operating points on it. roc:
    thresholds, false and true positive rates, float64 [T] each."""
    with _chart("Receiver operating characteristic") as (axes, svg):
        _, false, true = roc
        # What accepts no stranger has no place on a logarithmic axis.
        shown = false > 0
        axes.plot(100 * false[shown], 100 * true[shown], color=_ACCENT, linewidth=2)
        marks = np.array([(point.false_positive_rate, point.true_positive_rate) for point in points])
        axes.plot(*(100 * marks.T), color=_TEXT, marker="o", linestyle="none")
        for point in points:
            at = (100 * point.false_positive_rate, 100 * point.true_positive_rate)
            axes.annotate(f"{point.threshold:.3f}", at, (8, -4), textcoords="offset points")
        axes.set(xlabel="false positive rate, % (logarithmic)", ylabel="true positive rate, %", xscale="log")
        axes.set(ylim=(0, 100), xlim=(min(100 * false[shown].min(), 10 * marks[:, 0].min() * 100), 100))
    return svg.getvalue()


def histogram(values: NDArray[np.float32], name: str) -> str:
    """How often each value occurs."""
    with _chart(f"Histogram of {name}") as (axes, svg):
        axes.hist(values, bins=_BINS, color=_ACCENT)
        axes.set(xlabel=name, ylabel="images")
    return svg.getvalue()


def scatter(x: NDArray[np.float32], y: NDArray[np.float32], x_name: str, y_name: str) -> str:
    """One point an image."""
    with _chart(f"{y_name} against {x_name}") as (axes, svg):
        # No eye sees more in tens of thousands of points, and they would take megabytes.
        shown = np.random.default_rng(0).permutation(len(x))[:2000]
        axes.scatter(x[shown], y[shown], s=6, color=_ACCENT, alpha=0.4, linewidths=0)
        axes.set(xlabel=x_name, ylabel=y_name)
    return svg.getvalue()


def discard_chart(curves: dict[str, DiscardCurve]) -> str:
    """What is left of mAP, in per cent, for each signal of quality."""
    with _chart("mAP without the queries of the worst quality") as (axes, svg):
        styles = itertools.cycle([(_ACCENT, "-"), (_SOFT, "--"), (_SOFT, ":"), (_TEXT, "-.")])
        for (name, curve), (colour, style) in zip(curves.items(), styles, strict=False):
            left, fractions = 100 * np.array(curve.mAP), 100 * np.array(curve.fractions)
            axes.plot(fractions, left, color=colour, linestyle=style, linewidth=2, label=name)
        axes.set(xlabel="queries left out, %", ylabel="mAP of the others, %")
        axes.legend(loc="best")
    return svg.getvalue()


class _Svg(io.StringIO):
    """What matplotlib writes, as it stands inside a page."""

    def getvalue(self) -> str:
        svg = super().getvalue()
        svg = svg[svg.index("<svg") :]
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, f"var(--{variable})")
        return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


@contextmanager
def _chart(title: str) -> Iterator[tuple[Any, _Svg]]:
    svg = _Svg()
    # Names inside an SVG are valid in the whole page: so each chart has names of its own, and always the same.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": title}):
        figure = Figure(figsize=_SIZE)
        yield figure.add_subplot(), svg
        figure.savefig(svg, format="svg", metadata={"Date": None, "Title": title})
