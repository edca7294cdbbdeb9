"""Training crops: which ones, in which batches, with which augmentation."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2

from qafm.contract import HEIGHT, IMAGENET_MEAN, WIDTH
from qafm.datasets.attribute_file import read_attributes, require_attributes
from qafm.datasets.crops import DISTRACTOR_PID, Crop
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidDataset, InvalidImage, InvalidSettings
from qafm.images import decode, resize
from train.settings import STAGES, Settings, StageName

HELD_OUT_FRACTION = 0.1
"""Of the identities: seen by no network, they measure Q's mean and deviation, validate and calibrate."""


@dataclass(frozen=True)
class TrainingData:
    """The training split: `pids[label]` is the identity behind a label, row n of the arrays belongs to `crops[n]`."""

    crops: tuple[Crop, ...]
    held_out: tuple[Crop, ...]
    pids: tuple[int, ...]
    labels: np.ndarray
    """int64 [N], in 0..len(pids)-1."""
    attributes: np.ndarray
    """int8 [N,12], see `qafm.attributes`."""
    folder: Path = Path()
    """Of the dataset, absolute."""
    warning: str | None = None
    """What a person should know before training on it."""

    def description(self) -> dict[str, object]:
        """What a run says of its data: counts, and a hash of the names and sizes of all its files."""
        files = sorted((crop.path.name, crop.path.stat().st_size) for crop in (*self.crops, *self.held_out))
        return {
            "name": self.folder.name,
            "folder": str(self.folder),
            "crops": len(self.crops),
            "identities": len(self.pids),
            "held_out_crops": len(self.held_out),
            "held_out_identities": len({crop.pid for crop in self.held_out}),
            "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        }


def load_training_data(root: Path, seed: int) -> TrainingData:
    """List the training split of the dataset at `root` and hold a tenth of its identities out, chosen by `seed`.

    Raises InvalidDataset, among others where the attribute file lacks an identity or there are too few of them.
    """
    dataset = open_dataset(root)
    listed = [crop for crop in dataset.split("train") if crop.pid > DISTRACTOR_PID]
    pids = dataset.identities("train")
    if len(pids) < 4:
        raise InvalidDataset(f"{root}: the train split has {len(pids)} identities; training needs at least 4")
    shuffled = np.random.default_rng(seed).permutation(pids)
    held = max(2, round(HELD_OUT_FRACTION * len(pids)))
    held_out, trained = set(shuffled[:held].tolist()), tuple(sorted(shuffled[held:].tolist()))

    crops = tuple(crop for crop in listed if crop.pid not in held_out)
    label_of = {pid: label for label, pid in enumerate(trained)}
    if dataset.attribute_file is None:
        raise InvalidDataset(
            f"{root}: datasets in the layout of {dataset.name} have no attributes, which training needs; train on one "
            "in Market-1501's layout, with its market_attribute.mat"
        )
    attributes = read_attributes(dataset.attribute_file, "train")
    return TrainingData(
        crops=crops,
        held_out=tuple(crop for crop in listed if crop.pid in held_out),
        pids=trained,
        labels=np.array([label_of[crop.pid] for crop in crops]),
        attributes=require_attributes(attributes, [crop.pid for crop in crops], dataset.attribute_file),
        folder=Path(root).resolve(),
        warning=" ".join(dataset.warnings("train")) or None,
    )


def read_crop(crop: Crop) -> np.ndarray:
    """Decode a crop, uint8 [H,W,3]. Raises InvalidDataset that names the file."""
    try:
        return decode(crop.path.read_bytes())
    except (InvalidImage, OSError) as error:
        raise InvalidDataset(f"{crop.path}: {error}") from error


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


class CropFiles(Dataset[Any], ABC):
    """What is read from the files of crops. One that cannot be read is returned as its error: raised in a loader's
    worker, it would arrive wrapped in a traceback. `readable` raises it."""

    def __init__(self, crops: Sequence[Crop]) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.read(key)
        except InvalidDataset as error:
            return error

    @abstractmethod
    def read(self, key: Any) -> Any:
        """Raises InvalidDataset that names the file."""


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


class WholeCrops(CropFiles):
    """Crops as they are, not augmented: (pixels uint8 [384,128,3], row)."""

    def read(self, key: int) -> tuple[Tensor, int]:
        return torch.from_numpy(resize(read_crop(self.crops[key])).copy()), key


def collate(items: list[tuple[Tensor, int] | InvalidDataset]) -> list[Tensor] | InvalidDataset:
    errors = [item for item in items if isinstance(item, InvalidDataset)]
    return errors[0] if errors else default_collate(items)


def readable(loader: DataLoader) -> Iterator[Any]:
    """What a loader of CropFiles yields. Raises InvalidDataset for the first file that could not be read."""
    for loaded in loader:
        if isinstance(loaded, InvalidDataset):
            raise loaded
        yield loaded


def identity_batches(labels: np.ndarray, identities: int, images: int, seed: tuple[int, ...]) -> Iterator[list[int]]:
    """One epoch of identity-balanced batches: rows of `identities` different labels, `images` of each.

    As many batches as fill the split once. Labels are dealt from shuffled decks, so all come up equally often; an
    identity with fewer images than `images` repeats some.
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
