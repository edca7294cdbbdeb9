"""What all HTML pages share. A page is one file, needs no network, and reads well in light and dark, on a phone and in
print.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import NamedTuple

# The image formats that browsers show, by the first bytes of a file.
_TYPES = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp"}


def page(title: str, body: str) -> str:
    """A whole HTML page. body: HTML, in which text from elsewhere is escaped already."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<main>
{body}
</main>
{_ENLARGE if _ENLARGED in body else ""}</html>
"""


class Section(NamedTuple):
    """A part of a page that a link can lead to. name: of the link. title, content: HTML."""

    name: str
    title: str
    content: str


def with_navigation(sections: Iterable[Section | None]) -> str:
    """The sections that there are, with links to them in front."""
    present = [each for each in sections if each]
    links = "".join(f'<li><a href="#{each.name}">{each.title}</a>' for each in present)
    shown = "".join(f'<section id="{each.name}"><h2>{each.title}</h2>{each.content}</section>\n' for each in present)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n{shown}'


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def when(created: str) -> str:
    """HTML of an ISO 8601 time, to the minute."""
    return escape(created[:16].replace("T", " ")) or "an unknown date"


def breakable(path: str) -> str:
    """HTML of a path or a name, which may be broken after its separators rather than within words."""
    return re.sub(r"([/_.-])", r"\1<wbr>", escape(path))


def crop(content: bytes, alternative: str, caption: str, frame: str = "") -> str:
    """A picture with its caption, inside the page, which a click enlarges.

    content: an encoded image file; empty where the file is gone. caption: HTML. frame: for a picture in a ranked list
    "right", "wrong" or "asked".
    """
    if not content:
        picture = f'<div class="gone" role="img" aria-label="{escape(alternative)}">no picture</div>'
        return f'<figure class="{frame}">{picture}<figcaption>{caption}</figcaption></figure>'
    kind = next((kind for start, kind in _TYPES.items() if content.startswith(start)), "jpeg")
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    picture = f'<img src="{source}" alt="{escape(alternative)}" loading="lazy">'
    button = f'<button type="button" {_ENLARGED}>{picture}</button>'
    return f'<figure class="{frame}">{button}<figcaption>{caption}</figcaption></figure>'


_ENLARGED = 'class="enlarge"'
_ENLARGE = """<dialog id="enlarged" aria-label="Enlarged picture"><form method="dialog"><button>Close</button></form>
<div></div><p></p></dialog>
<script>
document.addEventListener("click", (event) => {
  const figure = event.target.closest(".enlarge")?.closest("figure"), dialog = document.getElementById("enlarged");
  if (figure) {
    dialog.querySelector("div").replaceChildren(figure.querySelector("img").cloneNode());
    dialog.querySelector("p").innerHTML = figure.querySelector("figcaption").innerHTML;
    dialog.showModal();
  } else if (event.target === dialog) dialog.close();
});
</script>
"""

_STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c2733; --soft: #5d6b7a; --line: #d9e0e7; --back: #f6f8fa; --card: #fff;
  --accent: #0b6e63; --warn: #9a3412; --right: #1a7f37; --wrong: #cf222e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4eaf0; --soft: #9aa8b6; --line: #313c47; --back: #12181e; --card: #1a222a;
    --accent: #4cc0ae; --warn: #f0a267; --right: #3fb950; --wrong: #f85149;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .6rem; font-size: 1.1rem; }
header p, .note, .label { color: var(--soft); overflow-wrap: anywhere; }
.note { font-size: .85rem; margin: .5rem 0 0; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem 1.2rem; margin: 1rem 0;
}
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1.5rem; }
.value { font-size: 2.4rem; font-weight: 650; line-height: 1.2; }
.value small { font-size: 1.1rem; color: var(--soft); }
.bar { position: relative; height: .45rem; margin-top: .4rem; border-radius: 3px; background: var(--line); }
.bar i { display: block; height: 100%; border-radius: 3px; background: var(--accent); }
.bar b { position: absolute; top: -.2rem; width: 2px; height: .85rem; background: var(--text); }
table { border-collapse: collapse; width: 100%; }
td table { font-size: .92em; }
th, td {
  text-align: left; padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--line);
  vertical-align: top; font-weight: 400; overflow-wrap: anywhere;
}
thead th { border-top: 0; color: var(--soft); overflow-wrap: normal; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
tbody th { color: var(--soft); min-width: 7.5rem; }
#failures h2, p.bad, td.bad { color: var(--warn); }
p.good { color: var(--right); }
.verdict { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: 1.5rem; }
section.asked { display: grid; grid-template-columns: 7rem 1fr; gap: 1.2rem; }
section.asked ul { margin: 0; padding-left: 1.2rem; columns: 14rem; }
.verdict p { margin: 0 0 .6rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0; padding: 0; list-style: none; font-size: .9rem; }
a { color: var(--accent); }
section[id] { scroll-margin-top: 1rem; }
.wide { overflow-x: auto; }
td small { color: var(--soft); }
.shade0 { background: color-mix(in srgb, var(--accent) 3%, transparent); }
.shade1 { background: color-mix(in srgb, var(--accent) 10%, transparent); }
.shade2 { background: color-mix(in srgb, var(--accent) 17%, transparent); }
.shade3 { background: color-mix(in srgb, var(--accent) 24%, transparent); }
.shade4 { background: color-mix(in srgb, var(--accent) 31%, transparent); }
#cameras td { padding-right: .5rem; }
summary { cursor: pointer; padding: .4rem 0; }
details ul { margin: .2rem 0 0; padding-left: 1.2rem; font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
.enlarge { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; }
dialog { background: var(--card); color: var(--text); border: 1px solid var(--line); border-radius: 8px; }
dialog::backdrop { background: rgb(0 0 0 / 60%); }
dialog img { display: block; height: min(70vh, 32rem); max-width: 100%; object-fit: contain; margin: .6rem auto; }
dialog p { margin: 0; font-size: .85rem; overflow-wrap: anywhere; }
dialog button { font: inherit; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .8rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
figure { margin: 0; }
figure img { width: 100%; aspect-ratio: 1 / 2; object-fit: contain; background: var(--back); border-radius: 4px; }
figure .gone {
  aspect-ratio: 1 / 2; display: grid; place-items: center; background: var(--back); color: var(--soft);
  font-size: .75rem; border-radius: 4px;
}
h3 { margin: 1.4rem 0 .5rem; font-size: 1rem; font-weight: 500; }
.ranked {
  padding: .9rem 0; border-top: 1px solid var(--line);
  content-visibility: auto; contain-intrinsic-size: auto 15rem;
}
.ranked h3 { margin-top: 0; }
.ranked .crops { grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); gap: .5rem; }
.ranked figcaption, .ranked .gone { font-size: .7rem; }
figure.right > :first-child { border: 3px solid var(--right); }
figure.wrong > :first-child { border: 3px solid var(--wrong); }
figure.asked > :first-child { border: 3px solid transparent; }
span.right { color: var(--right); }
span.wrong { color: var(--wrong); }
input {
  font: inherit; color: inherit; background: var(--back); padding: .3rem .5rem;
  border: 1px solid var(--line); border-radius: 4px;
}
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); gap: 1rem; }
.maps img { aspect-ratio: auto; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
@media print {
  body { background: none; }
  section, .ranked { break-inside: avoid; content-visibility: visible; }
  section:has(.ranked) { break-inside: auto; }
  label, nav, a.data { display: none; }
}
"""
