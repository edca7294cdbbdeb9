"""The batches of an epoch: which crops, in which order, with which augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from qafm.contract import HEIGHT, IMAGENET_MEAN, WIDTH
from qafm.datasets.market1501 import Crop
from qafm.errors import InvalidSettings
from qafm.images import resize
from train.data import CropFiles, TrainingData, collate, read_crop, readable
from train.settings import STAGES, Settings, StageName


@dataclass(frozen=True)
class Batch:
    """`crops` uint8 [B,384,128,3]; `labels` int64 [B]; `attributes` int64 [B,12]; `rows` int64 [B] of TrainingData."""

    crops: Tensor
    labels: Tensor
    attributes: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(
            *(tensor.to(device, non_blocking=True) for tensor in (self.crops, self.labels, self.attributes, self.rows))
        )


def augmentation() -> v2.Transform:
    """The paper's augmentation (section III), on uint8 [3,384,128]; erased areas take the mean colour of ImageNet."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(p=0.5),
            v2.Pad(10),
            v2.RandomCrop((HEIGHT, WIDTH)),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            v2.RandomErasing(p=0.5, scale=(0.02, 0.33), value=[round(255 * mean) for mean in IMAGENET_MEAN]),
        ]
    )


class _AugmentedCrops(CropFiles):
    """Asked for as (row, seed): the seed alone decides the augmentation, whichever worker does it."""

    def __init__(self, crops: Sequence[Crop]) -> None:
        super().__init__(crops)
        self.augment = augmentation()

    def read(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        row, seed = key
        pixels = torch.from_numpy(resize(read_crop(self.crops[row])).copy()).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.augment(pixels).permute(1, 2, 0), row


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


class Batches:
    """The batches of each epoch of a stage. Epoch e is the same however often training was interrupted before it."""

    def __init__(
        self, data: TrainingData, settings: Settings, stage: StageName, *, rank: int = 0, processes: int = 1
    ) -> None:
        """Process `rank` of `processes` gets its share of each batch: other identities than the others.

        Raises InvalidSettings where a batch has not two identities for each process.
        """
        self.data = data
        self.settings = settings
        self.stage = STAGES.index(stage)
        self.crops = _AugmentedCrops(data.crops)
        identities = min(settings.identities_per_batch, len(data.pids))
        if processes > 1 and (identities % processes or identities < 2 * processes):
            raise InvalidSettings(
                f"{identities} identities a batch over {processes} processes: expected a multiple of {processes}, and "
                "at least 2 for each; change identities_per_batch in the preset or the number of processes"
            )
        share = identities * settings.images_per_identity // processes
        self.share = slice(rank * share, (rank + 1) * share)
        self.sampler = _EpochSampler(self)
        # The workers stay: after each fork, this process pays once for every page that it writes to.
        self.loader = DataLoader(
            self.crops,
            batch_sampler=self.sampler,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            collate_fn=collate,
        )

    def __len__(self) -> int:
        return max(1, len(self.data.crops) // self.settings.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self.sampler.epoch = epoch
        for pixels, rows in readable(self.loader):
            yield Batch(
                crops=pixels,
                labels=torch.from_numpy(self.data.labels)[rows],
                attributes=torch.from_numpy(self.data.attributes).long()[rows],
                rows=rows,
            )

    def rows(self, epoch: int) -> list[list[tuple[int, int]]]:
        """This process's share of each batch of an epoch: rows, each with the seed of its augmentation."""
        settings, seed = self.settings, (self.settings.seed, self.stage, epoch)
        drawn = identity_batches(self.data.labels, settings.identities_per_batch, settings.images_per_identity, seed)
        batches = []
        for number, rows in enumerate(drawn):
            seeds = np.random.default_rng((*seed, number)).integers(2**31, size=len(rows))
            batches.append(list(zip(rows, seeds.tolist(), strict=True))[self.share])
        return batches


class _EpochSampler:
    """The batches of the epoch that is set, so that one loader serves all epochs."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches.rows(self.epoch))
