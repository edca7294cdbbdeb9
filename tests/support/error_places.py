"""Which places of the code make errors, and which of them a table of errors has seen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import qafm.errors

ROOT = Path(__file__).parents[2]


class Places:
    """The places under some folders of the project. `watch` notes those where errors are made from then on."""

    def __init__(self, *folders: str) -> None:
        self.folders = folders
        self.seen: set[tuple[str, int]] = set()

    def watch(self, monkeypatch) -> None:
        for error in (qafm.errors.QafmError, typer.BadParameter):
            monkeypatch.setattr(error, "__init__", self._noting(error.__init__))

    def _noting(self, make):
        def noted(error: Exception, *arguments: Any, **named: Any) -> None:
            frame = sys._getframe(1)
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                self.seen.add((path.relative_to(ROOT).as_posix(), frame.f_lineno))
            make(error, *arguments, **named)

        return noted

    def unseen(self, elsewhere: Mapping[str, str]) -> Iterable[str]:
        """Of each place that was not seen its file, line and words, but for those that `elsewhere` names: the end of a
        file's path, a colon, and the beginning or a part of the words."""
        left = [one.split(": ", 1) for one in elsewhere]
        for file, call, words in self._calls():
            seen = any(name == file and call.lineno <= line <= call.end_lineno for name, line in self.seen)
            if not seen and not any(file.endswith(name) and part in words for name, part in left):
                yield f"{file}:{call.lineno} {words[:80]}"

    def _calls(self) -> Iterator[tuple[str, ast.Call, str]]:
        errors = {name for name, value in vars(qafm.errors).items() if isinstance(value, type)} | {"BadParameter"}
        for path in sorted(path for folder in self.folders for path in (ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) in errors:
                    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                    words = "".join(part for part in parts if isinstance(part, str))
                    yield path.relative_to(ROOT).as_posix(), node, words
