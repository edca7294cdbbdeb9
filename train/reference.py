"""`python -m train.reference > docs/settings.md`: every setting, with what it is and what the presets have."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from train.presets import load_preset, preset_names
from train.settings import Settings

_HEAD = """# Settings

Written by `python -m train.reference > docs/settings.md`. A file of your own for `--preset` has what differs from the
defaults; an unknown name is refused. The last column says which presets differ.
"""
_BOUNDS = (
    (Ge, "≥", "ge"),
    (Gt, ">", "gt"),
    (Le, "≤", "le"),
    (Lt, "<", "lt"),
    (MultipleOf, "multiple of", "multiple_of"),
)


def reference() -> str:
    """Markdown."""
    presets = {name: load_preset(name) for name in preset_names()}
    sections = [_section("", Settings, presets)]
    sections += [
        _section(name, field.annotation, {preset: getattr(values, name) for preset, values in presets.items()})
        for name, field in Settings.model_fields.items()
        if _is_group(field)
    ]
    return "\n".join([_HEAD, *sections])


def _section(name: str, model: type[BaseModel], presets: dict[str, BaseModel]) -> str:
    title = f"`{name}`" if name else "A run"
    rows = "\n".join(_rows("", model, presets))
    return f"""## {title}

{_one_line(model.__doc__ or "")}

| setting | values | default | what | presets |
|---|---|---|---|---|
{rows}
"""


def _rows(prefix: str, model: type[BaseModel], presets: dict[str, BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        own = {preset: getattr(values, name) for preset, values in presets.items()}
        if _is_group(field):
            if prefix or model is not Settings:  # a group inside a section stands in its table
                yield from _rows(f"{prefix}{name}.", field.annotation, own)
            continue
        differing = [f"{preset}: {_shown(value)}" for preset, value in own.items() if value != field.default]
        cells = (f"`{prefix}{name}`", _values(field), _shown(field.default), _one_line(field.description or ""))
        yield f"| {' | '.join(cells)} | {'; '.join(differing)} |"


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _values(field: FieldInfo) -> str:
    """What a field accepts: the words of a choice, or a kind of number and its bounds."""
    annotation = str(field.annotation)
    if "Literal" in annotation:
        words = re.findall(r"'([^']+)'|\b(\d+)\b", annotation)
        return ("some of " if "tuple" in annotation else "") + ", ".join(text or number for text, number in words)
    kind = next((word for word in ("bool", "int", "float", "str") if word in annotation), annotation)
    if "tuple" in annotation:
        kind = f"{len(get_args(field.annotation))} {kind}"
    bounds = [
        f"{sign} {getattr(bound, attribute)}"
        for bound in field.metadata
        for of, sign, attribute in _BOUNDS
        if isinstance(bound, of)
    ]
    return ", ".join([kind, *bounds])


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
