"""report.html: the result of an evaluation, for people."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from client.evaluation.describing import FailedImage
from client.page import Section, page, when, with_navigation
from client.report.lists import best_section, heatmaps_section, lists_section
from client.report.parts import interval, percent, wide
from client.report.quality import quality_section
from client.report.recognition import changes_section, metrics_section, threshold_section
from client.report.report import Report
from client.report.verdict import verdict
from client.report.weaknesses import ablation_section, attributes_section, cameras_section, groups_section
from qafm.contract import QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.retrieval.metrics import METRIC_LABELS, PROTOCOL


def report_page(report: Report) -> str:
    """The whole page, its pictures in it."""
    metrics = report.metrics
    skipped = f", {metrics.skipped_queries:,} of them without a true match" if metrics.skipped_queries else ""
    sections = (
        metrics_section(report),
        changes_section(report),
        cameras_section(report.measured.cameras),
        groups_section(report),
        quality_section(report),
        threshold_section(report),
        ablation_section(report.ablation),
        attributes_section(report.attributes),
        heatmaps_section(report.heatmaps),
        best_section(report.examples),
        lists_section(report.examples),
        _failures(report.failed_images),
        _facts_section(report),
    )
    tiles = "".join(_tile(report, name) for name in ("rank1", "mAP", "mINP"))
    body = f"""<header>
<h1>{escape(report.model)} on {escape(report.data)}</h1>
<p>Person re-identification, evaluated {when(report.created)} at {escape(report.url)}{_asked(*report.asked)}.
{metrics.queries:,} queries{skipped}, of {metrics.identities:,} identities; {metrics.gallery:,} gallery images.</p>
</header>
{verdict(report)}
<section class="tiles" aria-label="Headline">{tiles}</section>
{with_navigation(sections)}"""
    return page(f"QAFM evaluation: mAP {percent(metrics.mAP)}", body)


def _asked(ensemble: str | None, alpha: float | None) -> str:
    """How the ensemble differs from `qafm`."""
    if ensemble == QAFM_FAST:
        return ", quality by one learnt network instead of 35 views"
    return f", α = {alpha} for every image, no quality" if ensemble == QAFM_FIXED_ALPHA else ""


def _tile(report: Report, name: str) -> str:
    value, yardstick = getattr(report.metrics, name), getattr(report.baseline, name)
    reached, mark = percent(value, 1), percent(yardstick, 1)
    ends = interval(report.measured.intervals.get(name), digits=1)
    return f"""
<div class="tile"><div class="label">{METRIC_LABELS[name]}</div>
<div class="value">{reached}<small>%</small></div>
<div class="bar" aria-hidden="true"><i style="width:{reached}%"></i><b style="left:{mark}%"></b></div>
<div class="note">{f"95 % interval {ends}<br>" if ends else ""}baseline {mark} %</div></div>"""


def _failures(failed: tuple[FailedImage, ...]) -> Section | None:
    if not failed:
        return None
    rows = "".join(f"<tr><th>{escape(image.path)}<td>{escape(image.reason)}" for image in failed)
    return Section(
        "failures",
        f"Images that could not be described: {len(failed):,}",
        f"<p>They are left out of every number above.</p>{wide(f'<table><tbody>{rows}</tbody></table>')}",
    )


def _facts_section(report: Report) -> Section:
    """What few will read, folded away: how it was measured, how long it took, and what was served."""
    return Section(
        "facts",
        "How it was measured",
        f"""<p>{escape(PROTOCOL)}</p>
<details><summary>Time</summary>{wide(_facts(report.timings))}</details>
<details><summary>What was served: the manifest</summary>{wide(_facts(_legible(report.manifest.content)))}</details>""",
    )


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
