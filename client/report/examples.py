"""The crops of a report: whom the server takes for whom, and which pictures it finds easy and hard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.page import crop
from qafm.errors import InvalidImage
from qafm.files import read_file
from qafm.images import MAX_BYTES, decode
from qafm.retrieval.descriptors import Descriptors, of_both
from qafm.retrieval.metrics import Metrics
from qafm.retrieval.ranking import ranked_lists

LIST_LENGTH = 10
EXTREMES = 8
_THUMBNAIL = (64, 128)


@dataclass(frozen=True)
class Listed:
    """An image of the gallery in a ranked list. distance: Euclidean, from 0 to 2. match: whether it is the person."""

    path: str
    distance: float
    match: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query and what is nearest to it in the gallery. average_precision: in [0,1], over the whole gallery."""

    path: str
    pid: int
    camid: int
    average_precision: float
    nearest: tuple[Listed, ...]


@dataclass(frozen=True)
class Scored:
    """An image and its identifiability score Q, higher is worse."""

    path: str
    identifiability: float


@dataclass(frozen=True)
class Examples:
    """What to show of a dataset at `root`; paths are relative to it.

    queries: of each identity the query with the lowest average precision, the lowest of all first. easiest, hardest:
    images by Q, the extreme first; none where there is no Q.
    """

    root: Path
    queries: tuple[RankedQuery, ...]
    easiest: tuple[Scored, ...]
    hardest: tuple[Scored, ...]


def choose_examples(root: Path, query: Descriptors, gallery: Descriptors, metrics: Metrics) -> Examples:
    """metrics: of this query and gallery, which must have paths."""
    assert query.paths is not None and gallery.paths is not None, "described images have paths"
    rows = worst_of_each_identity(query.pids, metrics.average_precision)
    queries = tuple(
        RankedQuery(
            path=str(query.paths[row]),
            pid=int(query.pids[row]),
            camid=int(query.camids[row]),
            average_precision=float(metrics.average_precision[row]),
            nearest=tuple(
                Listed(str(gallery.paths[place]), float(distance), bool(match))
                for place, distance, match in zip(ranked.rows, ranked.distances, ranked.matches, strict=True)
            ),
        )
        for row, ranked in zip(rows, ranked_lists(query, gallery, rows, LIST_LENGTH), strict=True)
    )
    scores = of_both(query, gallery, "identifiability")
    if scores is None:
        return Examples(root, queries, (), ())
    paths = np.concatenate([query.paths, gallery.paths])
    order = np.argsort(scores, kind="stable")
    easiest, hardest = (
        tuple(Scored(str(paths[row]), float(scores[row])) for row in extreme)
        for extreme in (order[:EXTREMES], order[::-1][:EXTREMES])
    )
    return Examples(root, queries, easiest, hardest)


def worst_of_each_identity(pids: NDArray[np.int64], average_precision: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each pid its row of the lowest average precision, the lowest of all first. Rows of NaN do not count."""
    rows = np.flatnonzero(~np.isnan(average_precision))
    rows = rows[np.argsort(average_precision[rows], kind="stable")]
    _, first = np.unique(pids[rows], return_index=True)
    return rows[np.sort(first)]


def crops_by_quality(examples: Examples) -> str:
    """The section with the crops of the lowest and the highest Q (the paper's Figs. 4 and 5); none without Q."""
    if not examples.easiest:
        return ""

    def row(images: Sequence[Scored]) -> str:
        shown = (
            crop(
                _thumbnail(examples.root / image.path),
                image.path,
                f"{image.identifiability:.3f}<br>{_name(image.path)}",
            )
            for image in images
        )
        return f'<div class="crops">{"".join(shown)}</div>'

    return f"""<section><h2>Lowest Q: by this score the easiest to identify</h2>{row(examples.easiest)}
<h2>Highest Q: by this score the hardest</h2>{row(examples.hardest)}</section>"""


def lists_of_queries(examples: Examples) -> str:
    """The section with the ranked lists (the paper's Figs. 9 and 10)."""
    lists = "".join(_ranked(examples.root, query) for query in examples.queries)
    return f"""<section><h2>Ranked lists, the worst query first</h2>
<p class="note">Of each identity the query with the lowest average precision, and the {LIST_LENGTH} nearest gallery
images with their distance: <span class="right">✓ the same person</span>, <span class="wrong">✗ somebody else</span>.
</p>
<p><label>Identity <input type="search" id="identity" inputmode="numeric" placeholder="0042"></label>
<span class="note" id="shown" aria-live="polite"></span></p>
{lists}{_SEARCH}</section>"""


def _ranked(root: Path, query: RankedQuery) -> str:
    nearest = "".join(
        crop(
            _thumbnail(root / image.path),
            f"rank {rank}: {image.path}",
            f"{'✓' if image.match else '✗'} {image.distance:.3f}<br>{_name(image.path)}",
            "right" if image.match else "wrong",
        )
        for rank, image in enumerate(query.nearest, start=1)
    )
    asked = crop(_thumbnail(root / query.path), query.path, f"query<br>{_name(query.path)}", "asked")
    return f"""<article class="list" data-identity="{query.pid:04d}">
<h3>{query.pid:04d}, camera {query.camid}: average precision {100 * query.average_precision:.1f} %</h3>
<div class="crops">{asked}{nearest}</div></article>
"""


def _name(path: str) -> str:
    return escape(Path(path).stem)


def _thumbnail(path: Path) -> bytes:
    """A picture small enough that thousands fit a page, as WebP; empty where it is gone."""
    try:
        picture = Image.fromarray(decode(read_file(path, MAX_BYTES)))
    except (OSError, InvalidImage):
        return b""
    picture.thumbnail(_THUMBNAIL)
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=75)
    return encoded.getvalue()


_SEARCH = """<script>
const identity = document.getElementById("identity");
identity.addEventListener("input", () => {
  const lists = [...document.querySelectorAll(".list")];
  for (const list of lists) list.hidden = !list.dataset.identity.includes(identity.value.trim());
  document.getElementById("shown").textContent =
    `${lists.filter((list) => !list.hidden).length} of ${lists.length}`;
});
</script>"""
