"""The settings of a training run. `train.presets` reads them from files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from synthetic.degradation import EVERY_KIND, KINDS

OF_A_RUN = "of a run"
"""The context in which settings are checked that an earlier version may have trained with."""
STAGES = ("iqa", "apan", "joint")
"""Those that train networks on batches of identities, epoch by epoch."""
WEIGHTING, QUALITY = "weighting", "quality"
"""After them: what is fitted to the finished networks, and the network that learns what all this says of a picture."""
StageName = Literal["iqa", "apan", "joint", "weighting", "quality"]
Precision = Literal["float32", "bfloat16", "float16"]
WeightingKind = Literal["paper", "constant", "retrieval", "visual"]

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class NetworkSettings(_Frozen):
    """The networks: sizes, and choices in which recipes differ. Every output keeps its size whatever these are."""

    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field((3, 4, 6, 3), strict=False)
    """Residual blocks of a trunk's four stages; ResNet-50 has the default."""
    width_per_group: Annotated[int, Field(gt=0, multiple_of=2)] = 64
    """Width of a trunk, relative to the 64 of ResNet-50."""
    channels: Annotated[int, Field(gt=0, multiple_of=2)] = 256
    """Width of what APN and APAN add to their trunks."""
    height: Literal[384, 192, 96] = 384
    """Rows that a trunk sees: the 384 of a crop, or these after averaging, for trainings that must be cheap."""
    instance_norm: bool = False
    """Trunks with IBN-a: half of the channels normalised picture by picture, against changes of light and camera."""
    pooling: Literal["average", "gem"] = "average"
    """How APN sums up a region: its mean, or the generalised mean with a learnt exponent, which starts at 3."""
    neck: Literal["plain", "bnneck"] = "plain"
    """"bnneck": as BoT has it, the triplet loss before the last normalisation, whose shift stays at 0, classifier and
    descriptor after it. "plain": v_a's triplet loss after it, and the descriptor before it."""
    forget_bias: float = 2.0
    """Where the ConvLSTM's forget gate starts; with 0 its first turn reaches the last one at 2 to the power of -11."""
    belief_norm: bool = True
    """Whether APAN normalises each belief before its head reads it."""

    @property
    def bnneck(self) -> bool:
        return self.neck == "bnneck"


class DegradedSettings(_Frozen):
    """Which branch learns from crops that are made worse, by a random kind of `synthetic.degradation.EVERY_KIND` and to
    a random strength. With equal probabilities both see the same crops worse."""

    apn: Fraction = 0.0
    """Probability, in the joint stage."""
    apan: Fraction = 0.0
    """Probability, in APAN's own stage and in the joint one."""


class AugmentationSettings(_Frozen):
    """What is done to training crops. Defaults are the paper's, section III, and where it gives no number, ours."""

    flip: Fraction = 0.5
    """Probability."""
    padding: NonNegativeInt = 10
    """A crop is moved by up to so many of its 384 x 128 pixels; what comes in from outside is black."""
    jitter: Fraction = 0.2
    """Brightness, contrast and saturation are each multiplied by up to 1 plus or minus this."""
    erasing: Fraction = 0.5
    """Probability that a rectangle is erased."""
    auto: Fraction = 0.0
    """Probability of AutoAugment's policy for ImageNet, before everything else."""
    degraded: DegradedSettings = DegradedSettings()


class LossSettings(_Frozen):
    """Identity and triplet losses of every stage. Defaults are the paper's."""

    identity: Literal["softmax", "cosine", "circle"] = "softmax"
    """Cross-entropy over products, over cosines with a margin (CosFace), or Circle loss's form of it."""
    scale: Annotated[float, Field(gt=0)] = 64.0
    """What cosines are multiplied by; "softmax" has none."""
    margin: Fraction = 0.35
    """Of cosines."""
    triplet: Literal["hard", "soft", "weighted"] = "hard"
    """Batch-hard with a margin of 0.3 on unit vectors; with a soft margin on vectors as they are; or AGW's, in which
    every picture of the batch counts by its distance."""

    @property
    def cosine_scale(self) -> float | None:
        """What an identity classifier multiplies cosines by; None where its logits are products."""
        return None if self.identity == "softmax" else self.scale


class StageSettings(_Frozen):
    """How long a stage trains. The rate rises linearly over the warm-up, then falls as a cosine to 0."""

    epochs: PositiveInt = 120
    """Passes over the training crops."""
    warmup_epochs: NonNegativeInt = 10
    """So many at the start, in which the rate rises."""
    cosine_from: NonNegativeInt = 0
    """The epoch in which the fall begins, if that is after the warm-up."""
    small_epochs: NonNegativeInt = 0
    """So many epochs first see the crops at half their height and width: a quarter of the work, for short trainings."""


class APANSettings(StageSettings):
    """The stage that trains APAN on attributes alone."""

    sampling: Literal["pictures", "identities"] = "pictures"
    """How batches are drawn: uniformly over pictures, or some identities with some pictures each. Attributes belong to
    identities: 32 pictures of 8 people are 8 independent labels."""
    priors: Literal["none", "start", "adjust"] = "start"
    """What the heads make of the frequencies of the training split. "start": they begin by answering with them, and
    answer what is most probable. "adjust", in the joint stage too: the frequencies are added to their logits in the
    loss alone, so that they answer as if all values were equally frequent, for who must not overlook a rare one (Menon
    et al., Long-tail Learning via Logit Adjustment, ICLR 2021)."""

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any, info: ValidationInfo) -> Any:
        if info.context == OF_A_RUN and isinstance(values, dict) and "prior_biases" in values:
            started = values["prior_biases"]
            values = {name: value for name, value in values.items() if name != "prior_biases"}
            return values | {"priors": "start" if started else "none"}
        return values


class JointSettings(StageSettings):
    """The joint stage. `frozen` and the two after it matter with pretrained weights: `--weights none` does without."""

    frozen: Literal["pretrained", "branches"] = "pretrained"
    """What stands still in the first epochs and then learns slowly: the trunks, which are pretrained, or as the paper
    has it both branches, new layers and all. With "pretrained" APN and APAN start from the finished IQA trunk."""
    frozen_epochs: NonNegativeInt = 10
    """So long it stands still."""
    branch_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Its rate from then on, relative to `learning_rate`."""
    apan_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The rate of APAN, which has had a stage of its own, relative to APN's."""
    head_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The rate of the FC, the projections and α, relative to `learning_rate`."""
    settling_epochs: NonNegativeInt = 0
    """So many epochs at the end leave both branches as they are, and only the FC, the projections and α learn."""
    fc: Literal["trained", "principal"] = "trained"
    """Where the FC comes from: "trained", as in the paper, it and the projections learn to tell people of the training
    split apart, by vectors that know these by heart; "principal", its rows are the principal directions of what it
    reads, which keep all angles, and nothing is projected. That serves other people better (docs/results.md)."""
    weighting: WeightingKind = "paper"
    """What gives α: "paper", a perceptron over Q; "constant", one learnt number for every picture; "retrieval", a
    half, until after the joint stage it is fitted to rank held-out people best; or "visual", 1, so that the
    FC reads v_a alone: the control of whether fusion earns its place."""
    alpha_loss: Literal["ratio", "linear"] = "ratio"
    """What teaches α with "paper" and "constant": how reliable each branch is, or Eq. 6, whose optimum is 0 or 1."""
    q_crops: Annotated[int | None, Field(ge=6)] = None
    """With "paper", so many crops get a Q of their own, at most a third of them held out; None: all. The others count
    as average."""

    @model_validator(mode="after")
    def _has_something_to_learn(self) -> JointSettings:
        if self.fc == "principal" and self.weighting in ("paper", "constant"):
            raise ValueError(
                f"weighting ({self.weighting}) learns beside the FC, and fc: principal is computed; choose "
                "weighting: retrieval, which is fitted afterwards, or fc: trained"
            )
        if self.fc == "principal" and self.settling_epochs:
            raise ValueError(
                f"settling_epochs ({self.settling_epochs}) are for the FC to learn in, and it is computed; expected 0"
            )
        return self


class LessonSettings(_Frozen):
    """What utility, diagnosis and a fitted α are taught on, in the stage `weighting`: each picture costs 35 passes of
    the IQA network."""

    crops: NonNegativeInt = 500
    """At most so many held-out crops; 0: none is taught."""
    copies: PositiveInt = 5
    """Of each crop, each made worse in another way."""


class QualitySettings(_Frozen):
    """The network that is taught what the 35 views say of a picture, in the stage `quality`."""

    pictures: NonNegativeInt = 0
    """It is taught by so many, each of which costs 35 passes of the IQA network; 0: there is no such network."""
    kinds: tuple[Literal[EVERY_KIND], ...] = Field((*KINDS, "compression"), strict=False, min_length=1)  # type: ignore[valid-type]
    """The degradations that it is taught by."""
    epochs: PositiveInt = 20
    """Passes over these pictures."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """At its highest."""


class Settings(_Frozen):
    """A training run. Defaults are the paper's."""

    network: NetworkSettings = NetworkSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    losses: LossSettings = LossSettings()
    identities_per_batch: Annotated[int, Field(ge=2)] = 8
    """Of a batch, on each process."""
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    """Of a batch: so many crops of each identity."""
    learning_rate: Annotated[float, Field(gt=0)] = 3.5e-4
    """At its highest; the optimizer is Adam."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Of Adam's: added to the gradients."""
    precision: Precision = "bfloat16"
    """In which the networks compute; weights stay in float32."""
    workers: NonNegativeInt = 1
    """Processes that read crops, for each process that trains."""
    seed: NonNegativeInt = 0
    """Of everything random."""
    weights: str = "imagenet"
    """"imagenet" (torchvision's first weights), "imagenet-v2", "none", or the path of a ResNet state dictionary
    or of a finished run's iqa.pt."""
    fine_tunes: str | None = None
    """A finished run whose networks every stage starts from, on other people: `train --from`."""
    refits: str | None = None
    """A finished run whose branches are trained again, on its held-out people too: `train --refit`."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """What counts is an exponential moving average of the weights with this decay a step; 0: the weights themselves."""
    attributes: bool = True
    """Whether APAN learns from people's attributes. Without, v_a is all that the descriptor has, with `joint.fc:
    principal` and `joint.weighting: visual`, and nothing is guessed of people: `train --without-attributes`."""
    check_every: PositiveInt = 1
    """So many epochs lie between two validations, with a checkpoint each; after the last epoch there is always one."""
    iqa: StageSettings = StageSettings()
    apan: APANSettings = APANSettings()
    joint: JointSettings = JointSettings()
    lessons: LessonSettings = LessonSettings()
    quality: QualitySettings = QualitySettings()

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any, info: ValidationInfo) -> Any:
        # Also of a run's settings that are given as a preset.
        if isinstance(values, dict) and "utility" in values:
            return {"lessons" if name == "utility" else name: value for name, value in values.items()}
        return values

    @model_validator(mode="after")
    def _weighs_nothing_without_attributes(self) -> Settings:
        if not self.attributes and (self.joint.fc, self.joint.weighting) != ("principal", "visual"):
            raise ValueError(
                f"joint.fc ({self.joint.fc}) and joint.weighting ({self.joint.weighting}) are for two branches, and "
                "without attributes there is one; expected fc: principal and weighting: visual, as "
                "--without-attributes sets them"
            )
        return self

    @model_validator(mode="after")
    def _leaves_epochs_in_which_the_branches_learn(self, info: ValidationInfo) -> Settings:
        if info.context == OF_A_RUN:
            return self
        joint = self.joint
        frozen = joint.frozen_epochs if self.freezes_branches else 0
        if frozen + joint.settling_epochs >= joint.epochs:
            named = f"joint.settling_epochs ({joint.settling_epochs})"
            if self.freezes_branches:
                named = f"joint.frozen_epochs ({frozen}), which counts with joint.frozen: branches, and {named}"
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
        """Whether the trunks start from weights that others have trained."""
        return self.weights != "none" or self.fine_tunes is not None

    @property
    def freezes_branches(self) -> bool:
        """Whether whole branches stand still at first, as the paper has it, and not only their pretrained trunks."""
        return self.pretrained and self.joint.frozen == "branches"
