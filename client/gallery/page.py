"""The page of a search: whom it looked for, and who looks like that."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from client.gallery.search import Found
from client.images import picture
from client.page import breakable, crop, page, when
from qafm.files import whole_file


def write_page(
    path: Path,
    image: Path,
    nearest: Sequence[Found],
    model: str | None,
    within: Path,
    *,
    created: str = "",
    about: Sequence[str] = (),
    threshold: float | None = None,
) -> None:
    """Write a page with the image and the crops nearest to it. It contains the pictures; if one is gone, its caption.

    model: the name of what described them. within: the folder of the gallery, outside which no picture is read.
    created: when. about: what the server says of the image. threshold: up to which distance was looked. Raises OSError.
    """
    pictures = [picture(match.path, within) for match in nearest]
    figures = "".join(
        crop(
            content,
            f"rank {rank}: {match.path}",
            f"<b>{rank}</b> &nbsp; {match.distance:.3f}"
            + (f" &nbsp; {escape(match.person)}" if match.person else "")
            + f"<br>{breakable(_below(match.path, within))}",
        )
        for rank, (match, content) in enumerate(zip(nearest, pictures, strict=True), start=1)
    )
    limit = "" if threshold is None else f", up to a distance of {threshold:g}"
    found = f'<div class="crops">{figures}</div>' if nearest else f"<p>Nobody{limit}.</p>"
    said = "".join(f"<li>{escape(line)}" for line in about)
    asked = crop(picture(image, image.parent), "what was searched for", breakable(image.name))
    content = page(
        f"Who looks like {image.name}?",
        f"""<header><h1>Who looks like this?</h1>
<p>{breakable(str(image))}, looked for in {breakable(str(within))}{f", {when(created)}" if created else ""}<br>
Model {escape(str(model))}</p></header>
<section class="asked"><div class="crops">{asked}</div>{f"<ul>{said}</ul>" if said else ""}</section>
<section><h2>Nearest first, with their distance{limit}</h2>{_missing(pictures, within)}{found}</section>""",
    )
    with whole_file(path) as file:
        file.write(content.encode())


def _missing(pictures: Sequence[bytes], within: Path) -> str:
    gone = sum(not content for content in pictures)
    if not gone:
        return ""
    return (
        f'<p class="bad">{gone} of {len(pictures)} pictures could not be read below {breakable(str(within))}. If their '
        "descriptors are from a file, --images names the folder in which its paths start.</p>"
    )


def _below(path: Path, within: Path) -> str:
    return path.relative_to(within).as_posix() if path.is_relative_to(within) else str(path)
