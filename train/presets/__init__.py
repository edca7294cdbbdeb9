"""Settings from files: a preset is a short YAML file in this folder, over the defaults of `train.settings`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from qafm.errors import InvalidSettings
from train.files import whole_file
from train.settings import OF_A_RUN, Settings

PRESETS = Path(__file__).parent


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_preset(name: str, **overrides: Any) -> Settings:
    """The settings of a preset, or of a settings file at that path, with single top-level ones replaced.

    Raises InvalidSettings.
    """
    if name in preset_names():
        return load_settings(PRESETS / f"{name}.yaml", **overrides)
    if name.endswith((".yaml", ".yml")):
        return load_settings(Path(name), **overrides)
    raise InvalidSettings(
        f"no preset {name!r}; the presets are {', '.join(preset_names())}, or give the path of a .yaml file of your own"
    )


def load_settings(path: Path, *, of_a_run: bool = False, **overrides: Any) -> Settings:
    """Read a settings file. Raises InvalidSettings that names the file, the key and what was expected of it.

    of_a_run: of one that an earlier version may have trained, with settings that are refused today.
    """
    try:
        loaded = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise InvalidSettings(f"{path}: cannot be read as settings: {error}") from error
    if not isinstance(loaded, dict):
        raise InvalidSettings(f"{path}: expected a mapping of settings, got {type(loaded).__name__}")
    return check_settings(loaded | overrides, str(path), of_a_run=of_a_run)


def check_settings(values: Mapping[str, Any], origin: str, *, of_a_run: bool = False) -> Settings:
    """Settings from plain values. Raises InvalidSettings as `load_settings` does, which names `origin`."""
    try:
        return Settings.model_validate(values, context=OF_A_RUN if of_a_run else None)
    except ValidationError as error:
        raise InvalidSettings("\n".join(f"{origin}: {_explain(problem)}" for problem in error.errors())) from error


def without_attributes(settings: Settings) -> Settings:
    """The same for a dataset that has none: v_a alone, by a computed FC."""
    values = settings.model_dump()
    values["joint"] |= {"fc": "principal", "weighting": "visual", "settling_epochs": 0}
    values["augmentation"]["degraded"]["apan"] = 0.0
    return check_settings(values | {"attributes": False}, "--without-attributes")


def save_settings(settings: Settings, path: Path) -> None:
    with whole_file(path) as file:
        file.write(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).encode())


def _explain(problem: Any) -> str:
    if problem["type"] == "value_error":  # of a validator above, whose message names the settings
        return str(problem["ctx"]["error"])
    *parents, key = problem["loc"]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{name} = {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
    model: Any = Settings
    for parent in parents:
        model = model.model_fields[parent].annotation
    known = list(model.model_fields)
    nearest = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
    return f"unknown setting {name!r}; {hint}"
