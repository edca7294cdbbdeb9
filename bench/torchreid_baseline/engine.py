"""torchreid's engines over a dataset of ours: its own loader, sampler, transforms, losses, schedule.

torchreid is passed in as a module, because it can be imported only once its checkout is known. From us come the
identities that are trained on, the trunk of the model `study`, and the length of the training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from qafm.datasets.crops import Crop, without_junk
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidSettings
from train.data import load_training_data
from train.networks import Trunk, build_trunk
from train.presets import load_preset

TEST, HELD_OUT = "qafm_test", "qafm_held_out"
"""The two datasets, by the names that torchreid knows them under. They differ in query and gallery alone."""

SAMPLERS = {"triplet": "RandomIdentitySampler", "softmax": "RandomSampler"}
"""By loss, how batches are drawn, by torchreid's names."""

INSTANCES = 4
"""Crops of an identity in a batch, torchreid's default."""

Sides = dict[str, list[Crop]]
"""The crops of "query" and of "gallery", in the order in which torchreid reads them."""


@dataclass(frozen=True)
class Baseline:
    """What a training of torchreid is determined by, with its dataset. Raises InvalidSettings.

    model: study, or a name that torchreid knows. loss: "triplet" is its engine for triplets and softmax, which weigh as
    much, over batches of identities; "softmax" the one for softmax alone, over batches of pictures. images: train on at
    least so many, in whole epochs. seconds: train for so long, to the nearest epoch. seed: also chooses who is held
    out, as in our trainer. height, width: of the crops, in pixels. transforms: of training, by torchreid's names.
    """

    model: str = "study"
    loss: str = "triplet"
    lr: float = 3e-4
    images: int | None = None
    seconds: float | None = None
    batch: int = 64
    seed: int = 0
    height: int = 96
    width: int = 32
    transforms: tuple[str, ...] = ("random_flip", "random_erase")
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.loss not in SAMPLERS:
            raise InvalidSettings(f"loss: expected one of {', '.join(SAMPLERS)}, got {self.loss}")
        if (self.images is None) == (self.seconds is None):
            raise InvalidSettings(f"expected either images or seconds, got {self.images} and {self.seconds}: give one")
        for name in ("lr", "images", "seconds", "height", "width"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidSettings(f"{name}: expected a number above 0, got {value}")
        if self.batch < 2 * INSTANCES or self.batch % INSTANCES:
            raise InvalidSettings(
                f"batch: expected a multiple of {INSTANCES}, the crops of an identity, from {2 * INSTANCES} on: "
                f"a triplet needs two identities; got {self.batch}"
            )

    def epochs(self, done: int, images: int, seconds: float) -> int:
        """How many epochs the training will have, where `done` (1 or more) took so many images and seconds."""
        if self.images is not None:
            return done + max(0, math.ceil((self.images - images) * done / images))
        assert self.seconds is not None
        return done + max(0, round((self.seconds - seconds) * done / seconds))


class Study(nn.Module):
    """The trunk of our preset `study` as a torchreid model: averaged over places, classified by a linear layer."""

    def __init__(self, identities: int, loss: str = "triplet") -> None:
        super().__init__()
        self.loss = loss
        self.trunk = build_trunk(load_preset("study").network)
        self.classifier = nn.Linear(Trunk.CHANNELS[-1], identities)
        # As torchreid begins its ResNet's classifier.
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Crops, float [B,3,H,W], to features, float [B,2048]; in training to logits and, for triplets, features."""
        features = self.trunk(crops)[-1].mean(dim=(2, 3))
        if not self.training:
            return features
        logits = self.classifier(features)
        return (logits, features) if self.loss == "triplet" else logits


class Counted:
    """Put before a torchreid engine: counts images, keeps each step's losses, and ends when `baseline` says.

    torchreid's cosine schedule needs the number of epochs, which is known only from what an epoch yields: its sampler
    drops what does not fill a batch, by chance. After each epoch the schedule's end is moved to where it will be.
    """

    baseline: Baseline
    images = 0
    seconds = 0.0
    """In `train`, of the epochs that are complete."""
    max_epoch = 1
    """The first epoch's learning rate is the same for every number of epochs."""

    def train(self, **options: Any) -> None:
        self.steps: list[dict[str, float]] = []
        self.started = time.perf_counter()
        super().train(**options)  # type: ignore[misc]

    def forward_backward(self, data: dict[str, Any]) -> dict[str, float]:
        losses: dict[str, float] = super().forward_backward(data)  # type: ignore[misc]
        self.images += len(data["img"])
        self.steps.append(losses)
        return losses

    def update_lr(self: Any, names: object = None) -> None:
        """torchreid calls it at the end of each epoch."""
        done = self.epoch + 1
        self.seconds += time.perf_counter() - self.started
        self.max_epoch = self.baseline.epochs(done, self.images, self.seconds)
        # By the closed form of the cosine: torch's recursive one, that `step` takes, is wrong once the end has moved.
        self.scheduler.T_max, self.scheduler.last_epoch = float(self.max_epoch), done
        for group, start in zip(self.optimizer.param_groups, self.scheduler.base_lrs, strict=True):
            group["lr"] = start * (1 + math.cos(math.pi * done / self.max_epoch)) / 2


def build_engine(torchreid: ModuleType, data: Path, baseline: Baseline, workers: int) -> tuple[Any, dict[str, Sides]]:
    """An engine at its first epoch, and the crops of both datasets, by name."""
    sides = _register(torchreid, data, baseline.seed)
    # Twice, so that a model starts alike whatever the loader draws.
    torchreid.utils.set_random_seed(baseline.seed)
    manager = torchreid.data.ImageDataManager(
        root=str(data), sources=TEST, targets=[TEST, HELD_OUT], height=baseline.height, width=baseline.width,
        transforms=list(baseline.transforms), use_gpu=False, batch_size_train=baseline.batch, batch_size_test=100,
        workers=workers, num_instances=INSTANCES, train_sampler=SAMPLERS[baseline.loss],
    )  # fmt: skip
    torchreid.utils.set_random_seed(baseline.seed)
    if baseline.model == "study":
        model: nn.Module = Study(manager.num_train_pids, baseline.loss)
    else:
        model = torchreid.models.build_model(
            baseline.model, manager.num_train_pids, loss=baseline.loss, pretrained=False, use_gpu=False
        )
    if baseline.channels_last:
        model = model.to(memory_format=torch.channels_last)
    # The second moment as in the configuration of torchreid's scripts; its function's own default is another.
    optimizer = torchreid.optim.build_optimizer(model, optim="amsgrad", lr=baseline.lr, adam_beta2=0.999)
    scheduler = torchreid.optim.build_lr_scheduler(optimizer, lr_scheduler="cosine", max_epoch=1)

    engines = {"triplet": torchreid.engine.ImageTripletEngine, "softmax": torchreid.engine.ImageSoftmaxEngine}
    options = {"margin": 0.3, "weight_t": 1, "weight_x": 1} if baseline.loss == "triplet" else {}
    counted = type("Engine", (Counted, engines[baseline.loss]), {})
    engine = counted(manager, model, optimizer, scheduler=scheduler, use_gpu=False, **options)
    engine.baseline = baseline
    return engine, sides


def _register(torchreid: ModuleType, data: Path, seed: int) -> dict[str, Sides]:
    """Tell torchreid of our two datasets. Returns their crops.

    Its own reading of Market-1501's layout refuses identities above 1501, and knows nothing of a held-out tenth.
    """
    training, dataset = load_training_data(data, seed), open_dataset(data)
    held_out = list(training.held_out)
    sides: dict[str, Sides] = {
        TEST: {side: without_junk(dataset.split(side)) for side in ("query", "gallery")},
        HELD_OUT: {"query": held_out, "gallery": held_out},
    }
    train = _listed(training.crops, training.labels.tolist())

    class Drawn(torchreid.data.ImageDataset):  # type: ignore[misc, name-defined]
        crops: Sides

        def __init__(self, root: str = "", **options: Any) -> None:
            query, gallery = (_listed(self.crops[s], [c.pid for c in self.crops[s]]) for s in ("query", "gallery"))
            super().__init__(train, query, gallery, **options)

    for name, crops in sides.items():
        torchreid.data.register_image_dataset(name, type(name, (Drawn,), {"crops": crops}))
    return sides


def _listed(crops: Sequence[Crop], labels: Sequence[int]) -> list[tuple[str, int, int]]:
    """As torchreid lists images: path, label, camera from 0."""
    return [(str(crop.path), label, crop.camid - 1) for crop, label in zip(crops, labels, strict=True)]
