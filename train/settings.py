"""The settings of a training run: a preset is a short YAML file over these frozen models."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from qafm.errors import InvalidSettings
from train.files import whole_file

_OF_A_RUN = "of a run"
PRESETS = Path(__file__).parent / "presets"
STAGES = ("iqa", "apan", "joint")
StageName = Literal["iqa", "apan", "joint"]
Precision = Literal["float32", "bfloat16", "float16"]
WeightingKind = Literal["paper", "constant"]

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NetworkSettings(_Frozen):
    """Sizes of the networks. Every output keeps its size whatever these are."""

    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field((3, 4, 6, 3), strict=False)
    width_per_group: PositiveInt = 64
    channels: Annotated[int, Field(gt=0, multiple_of=2)] = 256
    """Width of what APN and APAN add to their trunks."""


class StageSettings(_Frozen):
    """How long a stage trains. The rate rises linearly over the warm-up, then falls as a cosine to 0."""

    epochs: PositiveInt = 120
    warmup_epochs: NonNegativeInt = 10
    small_epochs: NonNegativeInt = 0
    """So many epochs first see the crops at half their height and width: a quarter of the work, for short trainings."""


class JointSettings(StageSettings):
    """The joint stage. `frozen_epochs` and `branch_rate` need pretrained branches: `--weights none` does without."""

    frozen_epochs: NonNegativeInt = 10
    branch_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    head_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The rate of the FC, the projections and α, relative to `learning_rate`."""
    settling_epochs: NonNegativeInt = 0
    """So many epochs at the end leave both branches as they are, and only the FC, the projections and α learn."""
    weighting: WeightingKind = "paper"
    """What gives α: "paper", a perceptron over Q, or "constant", one learnt number for every picture."""
    alpha_loss: Literal["ratio", "linear"] = "ratio"
    q_crops: Annotated[int, Field(ge=6)] | None = None
    """So many crops get a Q of their own, at most a third of them held out; None: all. The others count as average."""


class Settings(_Frozen):
    """A training run. Defaults are the paper's."""

    network: NetworkSettings = NetworkSettings()
    identities_per_batch: Annotated[int, Field(ge=2)] = 8
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 3.5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    precision: Precision = "bfloat16"
    workers: NonNegativeInt = 1
    seed: NonNegativeInt = 0
    weights: str = "imagenet"
    """"imagenet", "none", or the path of a ResNet state dictionary."""
    iqa: StageSettings = StageSettings()
    apan: StageSettings = StageSettings()
    joint: JointSettings = JointSettings()

    @model_validator(mode="after")
    def _leaves_epochs_in_which_the_branches_learn(self, info: ValidationInfo) -> Settings:
        if info.context == _OF_A_RUN:
            return self
        joint = self.joint
        frozen = joint.frozen_epochs if self.pretrained else 0
        if frozen + joint.settling_epochs >= joint.epochs:
            named = f"joint.settling_epochs ({joint.settling_epochs})"
            if self.pretrained:
                named = f"joint.frozen_epochs ({frozen}), which counts with pretrained weights, and {named}"
            raise ValueError(
                f"{named} must together be below joint.epochs ({joint.epochs}): both branches stand still in these "
                "epochs, and would never learn; lower them, or train for more epochs"
            )
        return self

    @property
    def batch_size(self) -> int:
        return self.identities_per_batch * self.images_per_identity

    @property
    def pretrained(self) -> bool:
        return self.weights != "none"


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
    try:
        return Settings.model_validate(loaded | overrides, context=_OF_A_RUN if of_a_run else None)
    except ValidationError as error:
        raise InvalidSettings("\n".join(f"{path}: {_explain(problem)}" for problem in error.errors())) from error


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
