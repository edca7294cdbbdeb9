"""The batches of an epoch: which crops, in which order, with which augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from qafm.contract import IMAGENET_MEAN
from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from qafm.errors import InvalidSettings
from qafm.images import resize
from synthetic.degradation import EVERY_KIND, degrade
from train.augmentation import draw
from train.data import CropFiles, TrainingData, collate, read_crop, readable
from train.settings import STAGES, AugmentationSettings, Settings, StageName

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """`crops` uint8 [B,384,128,3]; `labels` int64 [B]; `attributes` int64 [B,12]; `rows` int64 [B] of TrainingData;
    `augmentation` float32 [B,10], what `train.augmentation` is to do with each. Where a branch learns from degraded
    crops, `worse` is `crops` made worse, and `chance` float32 [B] in [0,1): a branch sees those worse whose chance is
    below its probability."""

    crops: Tensor
    labels: Tensor
    attributes: Tensor
    rows: Tensor
    augmentation: Tensor
    worse: Tensor | None = None
    chance: Tensor | None = None

    def seen(self, probability: float) -> Tensor:
        """The crops as a branch sees them, uint8 [B,384,128,3]."""
        if self.worse is None or self.chance is None or not probability:
            return self.crops
        return torch.where((self.chance < probability)[:, None, None, None], self.worse, self.crops)


class _TrainingCrops(CropFiles):
    """Asked for as (row, seed): the seed alone decides the augmentation, whichever worker draws it."""

    def __init__(self, crops: Sequence[Crop], settings: AugmentationSettings, stage: StageName) -> None:
        super().__init__(crops)
        self.settings = settings
        # The probability that some branch sees a crop worse.
        branches = settings.degraded
        self.degraded = {"iqa": 0.0, "apan": branches.apan, "joint": max(branches.apn, branches.apan)}[stage]
        self.policy = v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, fill=[round(255 * mean) for mean in IMAGENET_MEAN])

    def read(self, key: tuple[int, int]) -> tuple[Any, ...]:
        row, seed = key
        crop = read_crop(self.crops[row])
        found = self._auto_augmented(_resized(crop), seed), row, draw(self.settings, seed)
        if not self.degraded:
            return found
        # The rectangles, flips and shifts of `draw` come afterwards, and are the same for both.
        generator = np.random.default_rng((seed, 2))
        chance, worse = generator.random(dtype=np.float32), found[0]
        if chance < self.degraded:
            worse = self._auto_augmented(_resized(_made_worse(crop, generator)), seed)
        return *found, worse, chance

    def _auto_augmented(self, pixels: Tensor, seed: int) -> Tensor:
        """Here and not on the device: one crop in ten, each by operations of its own."""
        if not self.settings.auto or np.random.default_rng((seed, 1)).random() >= self.settings.auto:
            return pixels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.policy(pixels.permute(2, 0, 1)).permute(1, 2, 0)


def _resized(crop: np.ndarray) -> Tensor:
    return torch.from_numpy(resize(crop).copy())


def _made_worse(crop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    degradation = Degradation(str(generator.choice(EVERY_KIND)), float(generator.uniform(0, 1)))
    return np.asarray(degrade(Image.fromarray(crop), degradation, generator))


def identity_batches(labels: np.ndarray, identities: int, images: int, seed: tuple[int, ...]) -> Iterator[list[int]]:
    """One epoch of identity-balanced batches, as rows of `labels`: `identities` different labels, `images` of each.

    An epoch has about as many images as the split. Labels are drawn from shuffled decks, so all appear equally often;
    an identity with fewer images than `images` repeats some.
    """
    generator = np.random.default_rng(seed)
    rows_of = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    deck: list[int] = []
    for _ in range(max(1, len(labels) // (identities * images))):
        chosen: list[int] = []
        while len(chosen) < min(identities, len(rows_of)):
            deck = deck or generator.permutation(len(rows_of)).tolist()
            # A new deck can begin with a label the batch already has: take the next one instead.
            fresh = next((label for label in deck if label not in chosen), None)
            if fresh is None:
                deck = []
                continue
            deck.remove(fresh)
            chosen.append(fresh)
        yield [
            int(row)
            for label in chosen
            for row in generator.choice(rows_of[label], images, replace=len(rows_of[label]) < images)
        ]


def picture_batches(count: int, size: int, seed: tuple[int, ...]) -> Iterator[list[int]]:
    """One epoch of batches drawn uniformly over `count` pictures, each at most once; what is left over is left out."""
    order = np.random.default_rng(seed).permutation(count)
    for start in range(0, max(1, count - size + 1), size):
        yield order[start : start + size].tolist()


class Batches:
    """The batches of each epoch of a stage. Epoch e is the same however often training was interrupted before it."""

    def __init__(
        self,
        data: TrainingData,
        settings: Settings,
        stage: StageName,
        *,
        device: torch.device = _CPU,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """Process `rank` of `processes` gets its share of each batch: other identities than the others.

        Raises InvalidSettings where a batch has not two identities for each process.
        """
        self.data = data
        self.settings = settings
        self.stage = stage
        self.device = device
        self.labels = torch.from_numpy(data.labels).to(self.device)
        self.attributes = torch.from_numpy(data.attributes).long().to(self.device)
        identities = min(settings.identities_per_batch, len(data.pids))
        if processes > 1 and (identities % processes or identities < 2 * processes):
            raise InvalidSettings(
                f"{identities} identities a batch over {processes} processes: expected a multiple of {processes}, and "
                "at least 2 for each; change identities_per_batch in the preset or the number of processes"
            )
        self.by_pictures = stage == "apan" and settings.apan.sampling == "pictures"
        self.size = identities * settings.images_per_identity
        if self.by_pictures:
            self.size = min(settings.batch_size, len(data.crops))
        share = self.size // processes
        self.share = slice(rank * share, (rank + 1) * share)
        self.sampler = _EpochSampler(self)
        # The workers stay: after each fork, this process pays once for every page that it writes to.
        self.loader = DataLoader(
            _TrainingCrops(data.crops, settings.augmentation, stage),
            batch_sampler=self.sampler,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
        )

    def __len__(self) -> int:
        return max(1, len(self.data.crops) // self.settings.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self.sampler.epoch = epoch
        for loaded in readable(self.loader):
            crops, rows, *others = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
            yield Batch(crops, self.labels[rows], self.attributes[rows], rows, *others)

    def rows(self, epoch: int) -> list[list[tuple[int, int]]]:
        """This process's share of each batch of an epoch: rows, each with the seed of its augmentation."""
        seed = (self.settings.seed, STAGES.index(self.stage), epoch)
        batches = []
        for number, rows in enumerate(self._drawn(seed)):
            seeds = np.random.default_rng((*seed, number)).integers(2**31, size=len(rows))
            batches.append(list(zip(rows, seeds.tolist(), strict=True))[self.share])
        return batches

    def _drawn(self, seed: tuple[int, ...]) -> Iterator[list[int]]:
        settings = self.settings
        if self.by_pictures:
            return picture_batches(len(self.data.crops), self.size, seed)
        return identity_batches(self.data.labels, settings.identities_per_batch, settings.images_per_identity, seed)


class _EpochSampler:
    """The batches of the epoch that is set, so that one loader serves all epochs."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches.rows(self.epoch))
