"""Contact sheets: a look at what was drawn."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from qafm.attributes import SCHEMA
from qafm.datasets.degradations import DEGRADATION_FILE, read_degradations
from qafm.datasets.folders import FOLDERS
from qafm.datasets.market1501 import list_split
from synthetic.camera import HEIGHT, WIDTH
from synthetic.dataset import people
from synthetic.degradation import KINDS
from synthetic.plan import identities
from synthetic.recipe import Recipe

_COLUMNS = 12
_ROWS = 8
_CAPTION = 12
_GAP = 2


def contact_sheet(recipe: Recipe, out: Path) -> Image.Image:
    """A picture of a dataset that `make_dataset` wrote to `out`: RGB.

    A row for each of some training identities across their cameras, look-alikes beneath each other; then a
    row for each kind of degradation, from slight to severe.
    """
    attributes = people(recipe)
    train, _ = identities(recipe)

    def alike_first(pid: int) -> tuple[int, bytes, int]:
        labels = attributes[pid].tobytes()
        return -sum(attributes[other].tobytes() == labels for other in train), labels, pid

    alike = sorted(train, key=alike_first)
    crops = list_split(out, "train")
    rows = []
    for pid in (alike[: _ROWS // 2] + alike[len(alike) // 2 :])[:_ROWS]:
        mine = sorted((crop for crop in crops if crop.pid == pid), key=lambda crop: (crop.camid, crop.path.name))
        step = max(1, len(mine) // _COLUMNS)
        words = [
            attribute.values[label] if len(attribute.values) > 2 or attribute.values[0] != "no" else attribute.name
            for attribute, label in zip(SCHEMA, attributes[pid], strict=True)
            if label >= 0 and attribute.values[label] != "no"
        ]
        rows.append((f"{pid:04d}  {' '.join(words)}", [crop.path for crop in mine[::step][:_COLUMNS]]))
    recorded = read_degradations(out / DEGRADATION_FILE)
    for kind in KINDS:
        paths = sorted(
            (path for path, entry in recorded.items() if entry.kind == kind and FOLDERS["train"] in path),
            key=lambda path: recorded[path].strength,
        )
        step = max(1, len(paths) // _COLUMNS)
        rows.append((f"{kind}, from slight to severe", [out / path for path in paths[::step][:_COLUMNS]]))
    return _grid(rows)


def _grid(rows: list[tuple[str, list[Path]]]) -> Image.Image:
    tall = HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (WIDTH + _GAP), len(rows) * tall), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, paths) in enumerate(rows):
        draw.text((2, row * tall), caption, fill="black")
        for column, path in enumerate(paths):
            with Image.open(path) as image:
                sheet.paste(image, (column * (WIDTH + _GAP), row * tall + _CAPTION))
    return sheet
