"""Sections of ranked lists (the paper's Figs. 9 and 10), and of what the branches look at."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from client.page import Section, breakable, crop
from client.report.examples import LIST_LENGTH, Examples, RankedQuery
from client.report.parts import note, percent
from client.report.pictures import thumbnail
from qafm.datasets.market1501 import NAMING


def lists_section(examples: Examples | None) -> Section | None:
    """Of each identity, or of those that are found worst, its worst query, searchable."""
    if examples is None:
        return None
    lists = "".join(_ranked(examples.root, query, "ranked list") for query in examples.queries)
    count = len(examples.queries)
    of = (
        "each identity"
        if count == examples.identities
        else f"each of the {count:,} worst of {examples.identities:,} identities"
    )
    said = (
        f"Of {of} the query with the lowest average precision, and the {LIST_LENGTH} nearest gallery images "
        'with their distance, camera and, where known, time: <span class="right">✓ the same person</span>, '
        '<span class="wrong">✗ somebody else</span>. Click a picture to enlarge it.'
    )
    search = (
        '<p><label>Identity <input type="search" id="identity" inputmode="numeric" placeholder="0042"></label> '
        '<span class="note" id="shown" aria-live="polite"></span></p>'
    )
    return Section("lists", "Ranked lists, the worst query first", note(said) + search + lists + _SEARCH)


def best_section(examples: Examples | None) -> Section | None:
    """Those of the highest average precision."""
    if examples is None or not examples.best:
        return None
    return Section("best", "The best lists", "".join(_ranked(examples.root, each) for each in examples.best))


def heatmaps_section(heatmaps: Mapping[str, bytes]) -> Section | None:
    """What the branches look at."""
    if not heatmaps:
        return None
    figures = "".join(crop(picture, f"heat maps of {name}", escape(name)) for name, picture in heatmaps.items())
    return Section(
        "heatmaps",
        "What the branches look at",
        f'<div class="maps">{figures}</div>'
        + note("The crop; where the appearance branch has large features; and where the attribute branch, if any."),
    )


def _ranked(root: Path, query: RankedQuery, style: str = "ranked") -> str:
    nearest = "".join(
        crop(
            thumbnail(root / image.path),
            f"rank {rank}, {'the same person' if image.match else 'somebody else'}: {image.path}",
            f"{'✓' if image.match else '✗'} {image.distance:.3f}, {_where(image.camid, image.path)}<br>"
            + _name(image.path),
            "right" if image.match else "wrong",
        )
        for rank, image in enumerate(query.nearest, start=1)
    )
    caption = f"query, {_where(query.camid, query.path)}<br>{_name(query.path)}"
    asked = crop(thumbnail(root / query.path), f"query {query.path}", caption, "asked")
    reached = f"average precision {percent(query.average_precision, 1)} %, first match at rank {query.first_match:,}"
    return f"""<article class="{style}" data-identity="{query.pid:04d}">
<h3>{query.pid:04d}: {reached}</h3>
<div class="crops">{asked}{nearest}</div>{_others(query)}</article>
"""


def _others(query: RankedQuery) -> str:
    if not query.others:
        return ""
    rows = "".join(
        f"<li>{_name(other.path)}, camera {other.camid}: average precision {percent(other.average_precision, 1)} %, "
        f"first match at rank {other.first_match:,}"
        for other in query.others
    )
    count = len(query.others)
    return f"<details><summary>{count} other {'query' if count == 1 else 'queries'}</summary><ul>{rows}</ul></details>"


def _where(camid: int, path: str) -> str:
    """By which camera, and where the name of the file says it as Market-1501's do, in which of its recordings and when:
    a number of the frame, for how many there are to a second is not recorded."""
    named = NAMING.pattern.fullmatch(Path(path).name)
    if named is None:
        return f"camera {camid}"
    return f"camera {camid}, recording {int(named['sequence'])}, frame {int(named['frame']):,}"


def _name(path: str) -> str:
    return breakable(Path(path).stem)


_SEARCH = """<script>
const identity = document.getElementById("identity");
identity.addEventListener("input", () => {
  const lists = [...document.querySelectorAll(".list")];
  for (const list of lists) list.hidden = !list.dataset.identity.includes(identity.value.trim());
  document.getElementById("shown").textContent =
    `${lists.filter((list) => !list.hidden).length} of ${lists.length}`;
});
</script>"""
