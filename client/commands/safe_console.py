"""A console on which names and messages from elsewhere can do nothing but be read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

_SHOWN = "\N{REPLACEMENT CHARACTER}"
_HARMLESS = "\n\t\N{SOFT HYPHEN}\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


class SafeConsole(Console):
    """One that shows a sign in the place of every character that a terminal obeys, or that cannot be written.

    The name of a file may hold sequences that move the cursor, change the window's title or turn the line around, and
    bytes that are no text. Rich's own colours are not text, and stay.
    """

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def printable(text: str) -> str:
    """The same text with a sign for each control character, formatting character and lone surrogate."""
    if text.isprintable():
        return text
    return "".join(
        _SHOWN if unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in _HARMLESS else letter
        for letter in text
    )
