"""For `make site`: what lies outside of docs/ is there for who has the repository, and no link on the site."""

from __future__ import annotations

import re


def on_page_markdown(markdown: str, **_: object) -> str:
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
