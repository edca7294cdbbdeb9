"""The recipes of a study: what each changes in a preset, and which stages that takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from qafm.errors import InvalidSettings
from qafm.weighting.retrieval import Retrieval
from train.presets import check_settings, load_preset
from train.settings import STAGES, DegradedSettings, Settings, StageName

PLAN = Path(__file__).parent / "plan.yaml"


class Recipe(BaseModel):
    """One recipe: the settings that differ from the preset's, or from those of the recipe `like`, and what it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    why: str
    """What it asks, in a few words."""
    change: dict[str, Any] = {}
    """As in a preset's file."""
    like: str | None = None
    first: StageName | None = "iqa"
    """The first stage that is trained; those before are taken from the recipe `like`, and with null all of them."""
    last: StageName = "joint"
    """The stage after which the run ends."""
    flip: bool = False
    """Whether a test picture is described together with its mirror image."""

    def described(self, settings: Settings) -> dict[str, Any]:
        """All that decides what a run of the recipe is, by these settings of it."""
        # Where α is not fitted to them, what lessons teach comes after all that is compared.
        unread = {"quality"} if settings.joint.weighting == Retrieval.kind else {"quality", "lessons"}
        dumped = settings.model_dump(mode="json", exclude=unread)
        # Younger than the first results, which without these are what they were.
        if settings.augmentation.degraded == DegradedSettings():
            del dumped["augmentation"]["degraded"]
        if settings.attributes:
            del dumped["attributes"]
        if settings.joint.fc == "trained":
            del dumped["joint"]["fc"]
        return {"settings": dumped, "last": self.last, "flip": self.flip}

    def stages(self, last: StageName) -> tuple[tuple[StageName, ...], tuple[StageName, ...]]:
        """The stages up to `last`: those taken from the recipe `like`, and those trained."""
        until = STAGES[: STAGES.index(last) + 1]
        first = len(until) if self.first is None else STAGES.index(self.first)
        return until[:first], until[first:]  # type: ignore[return-value]


class Plan(BaseModel):
    """What a study compares."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    preset: str
    recipes: dict[str, Recipe]

    def settings(self, name: str, seed: int) -> Settings:
        """The settings of a recipe. Raises InvalidSettings."""
        changes, recipe = [], self.recipe(name)
        while recipe.like is not None:
            changes.append(recipe.change)
            recipe = self.recipe(recipe.like)
        changes.append(recipe.change)
        merged: dict[str, Any] = load_preset(self.preset, seed=seed).model_dump()
        for change in reversed(changes):
            merged = merge(merged, change)
        return check_settings(merged, f"recipe {name}")

    def recipe(self, name: str) -> Recipe:
        """Raises InvalidSettings where there is none of the name."""
        if name not in self.recipes:
            raise InvalidSettings(f"no recipe {name!r}; the plan has {', '.join(self.recipes)}")
        return self.recipes[name]


def load_plan(path: Path = PLAN) -> Plan:
    """Read a plan. Raises InvalidSettings."""
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text()), strict=False)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise InvalidSettings(f"{path}: cannot be read as a plan: {error}") from error


def merge(settings: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of them changed, group by group."""
    merged = dict(settings)
    for key, value in change.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return merged
