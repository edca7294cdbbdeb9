from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from client.commands.safe_console import SafeConsole, printable

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "C1": "\x9b2J",
    "return": "good\rbad",
    "backspace": "abc\x08\x08",
    "reversed": "gpj.\u202egnp",
    "isolated": "\u2066gpj",
    "no text": "crop\udcff.jpg",
    "nothing": "\x00",
}


def printed(renderable, **options):
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    SafeConsole(file=stream, width=60, **options).print(renderable, markup=False)
    stream.flush()
    return stream.buffer.getvalue().decode()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_terminal_obeys_nothing_that_a_name_says(name):
    table = Table("file")
    table.add_row(HOSTILE[name])
    for renderable in (HOSTILE[name], table):
        shown = printed(renderable)
        assert not any(ord(letter) < 32 and letter != "\n" or 127 <= ord(letter) < 160 for letter in shown)
        assert not set(shown) & set("\u202e\u2066")


@pytest.mark.parametrize("text", ["Köln/李.jpg", "naïve — ‘quoted’ 👍🏽", "two\nlines", "a\tb"])
def test_what_people_write_stays(text):
    assert printable(text) == text


@given(st.text(max_size=40))
def test_a_sign_for_a_sign(text):
    shown = printable(text)
    assert len(shown) == len(text) and printable(shown) == shown
    shown.encode()


def test_its_own_colours_stay():
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, color_system="standard", highlight=False)
    console.print("\x1b[31mx", style="red")
    assert stream.getvalue() == "\x1b[31m\N{REPLACEMENT CHARACTER}[31mx\x1b[0m\n"
