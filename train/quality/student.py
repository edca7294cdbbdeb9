"""How the quality network is taught to say in one look at a picture what its 35 views say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset

from qafm.images import decode, resize
from qafm.perturbations import PERTURBATIONS
from qafm.quality import Quality, logarithms
from qafm.utility import Utility
from qafm.weighting import Weighting
from train.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.metrics_log import MetricsLog
from train.networks import Pixels, QualityNetwork
from train.networks.quality import ALPHA, OUTPUTS, UTILITY, Q
from train.networks.trunk import lowered
from train.precision import autocast, gradient_scaler
from train.quality.spoilt import Spoilt
from train.settings import Settings, StageSettings
from train.stages.stage import rate_factor

_BATCH = 64
_DECAY = 0.05
_KNEE = 0.5
"""Where the loss turns from square to straight, in standard deviations."""
_WEIGHT = 6.0
"""Of Q, of utility and of α, each beside the 34 distances."""
_OPPOSITE = {"left": "right", "right": "left"}


def said_of(qualities: Sequence[Quality], weighting: Weighting, utility: Utility) -> np.ndarray:
    """What the network is to say of pictures of these qualities, float64 [N,37]: see `train.networks.quality`."""
    alpha = np.array([weighting.alpha(quality) for quality in qualities]).clip(1e-9, 1 - 1e-9)
    return np.column_stack(
        [
            logarithms(np.stack([quality.scatter for quality in qualities])),
            logarithms(np.array([quality.identifiability for quality in qualities])),
            [utility.logit(quality) for quality in qualities],
            np.log(alpha / (1 - alpha)),
        ]
    )


def mirrored_places() -> list[int]:
    """Where in a picture's numbers those of its mirror image stand, [37]: a bar at its left is one at its right."""
    places = {
        (view.parameters["side"], view.parameters["fraction"]): view.index - 1
        for view in PERTURBATIONS
        if view.family == "occlusion"
    }
    mirrored = list(range(OUTPUTS))
    for (side, fraction), place in places.items():
        mirrored[place] = places[_OPPOSITE.get(side, side), fraction]
    return mirrored


def train_network(
    network: QualityNetwork,
    pictures: Sequence[Spoilt],
    numbers: np.ndarray,
    run: Path,
    *,
    settings: Settings,
    fabric: Fabric,
    resume: bool,
    console: Console,
) -> None:
    """Teach a network, in this process alone, with a checkpoint after each epoch.

    network: with the weights that it is to start from. numbers: what it is to say of each of the pictures, float
    [N,37]. Raises InvalidDataset where a crop cannot be read, TrainingFailed where the run cannot be written.
    """
    own, device = settings.quality, fabric.device
    network.expect(torch.from_numpy(numbers))
    network.to(device, memory_format=torch.channels_last).train()
    optimizer = AdamW(network.parameters(), lr=own.learning_rate, weight_decay=_DECAY)
    done = _restore(run, network, optimizer) if resume else 0
    files = [picture.file() for picture in track(pictures, "    pictures", console=console)]
    taught = (torch.from_numpy(numbers).float().to(device) - network.centre) / network.spread.clamp(min=1e-6)
    lesson = _Lesson(network, optimizer, taught, settings, fabric)
    steps = max(1, len(files) // _BATCH)
    schedule = StageSettings(epochs=own.epochs, warmup_epochs=min(1, own.epochs - 1))
    with MetricsLog(run, "quality", done * steps, enabled=True) as log:
        for epoch in range(done, own.epochs):
            started, losses = time.perf_counter(), []
            # Of this epoch alone, so that one that was interrupted goes on as if it had not been.
            generator = np.random.default_rng((settings.seed, epoch))
            order, mirror = generator.permutation(len(files)), torch.from_numpy(generator.random(len(files)) < 0.5)
            batches = [order[step * _BATCH : (step + 1) * _BATCH].tolist() for step in range(steps)]
            loader = DataLoader(_Files(files), batch_sampler=batches, num_workers=settings.workers)
            for step, (seen, rows) in enumerate(loader):
                rate = own.learning_rate * rate_factor(epoch + (step + 0.5) / steps, schedule)
                losses.append(lesson.learn(seen.to(device), rows.to(device), mirror[rows].to(device), rate))
            loss = float(torch.stack(losses).mean())
            log.write((epoch + 1) * steps - 1, rate=rate, loss={"quality": round(loss, 5)})
            log.flush()
            last = epoch + 1 == own.epochs
            save_checkpoint(run, _snapshot(network, optimizer, epoch + 1, last), best=False, durable=last)
            took = f"{time.perf_counter() - started:.0f} s"
            console.print(f"quality epoch {epoch + 1}/{own.epochs}, {took}: loss {loss:.3f}", highlight=False)


class _Lesson:
    """What one batch teaches. taught: float32 [N,37], the standardised numbers of all pictures."""

    def __init__(
        self, network: QualityNetwork, optimizer: AdamW, taught: Tensor, settings: Settings, fabric: Fabric
    ) -> None:
        self.network, self.optimizer, self.taught = network, optimizer, taught
        self.pixels = Pixels().to(fabric.device)
        self.mirrored = torch.tensor(mirrored_places(), device=fabric.device)
        self.weights = torch.ones(taught.shape[1], device=fabric.device)
        self.weights[[Q, UTILITY, ALPHA]] = _WEIGHT
        self.precision = settings.precision
        self.scaler = gradient_scaler(settings.precision, fabric.device)

    def learn(self, seen: Tensor, rows: Tensor, mirror: Tensor, rate: float) -> Tensor:
        """One step on pictures uint8 [B,384,128,3] of these rows, mirrored where bool [B] says so; returns the loss."""
        expected = self.taught[rows]
        seen = torch.where(mirror[:, None, None, None], seen.flip(2), seen)
        expected = torch.where(mirror[:, None], expected[:, self.mirrored], expected)
        # Averaged down before they are normalised, not after: a sixteenth of the numbers, where the trunk is low.
        crops = self.pixels.normalise(lowered(self.pixels.planes(seen), self.network.height))
        with autocast(self.precision, seen.device):
            said = self.network.standard(crops)
        each = F.smooth_l1_loss(said, expected, reduction="none", beta=_KNEE)
        loss = (each * self.weights).sum(dim=1).mean() / self.weights.sum()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


class _Files(Dataset):
    """Encoded pictures, as the network sees them: (uint8 [384,128,3], row)."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.from_numpy(resize(decode(self.files[row])).copy()), row


def _restore(run: Path, network: QualityNetwork, optimizer: AdamW) -> int:
    """Go on from the run's checkpoint, if there is one; returns the number of finished epochs."""
    if not checkpoint_path(run, "quality").is_file():
        return 0
    checkpoint = load_checkpoint(run, "quality")
    checkpoint.restore({"quality": network})
    optimizer.load_state_dict(checkpoint.optimizers["quality"])
    return checkpoint.epoch


def _snapshot(network: QualityNetwork, optimizer: AdamW, epoch: int, complete: bool) -> Checkpoint:
    return Checkpoint(
        stage="quality",
        epoch=epoch,
        complete=complete,
        best_mAP=0.0,
        pids=(),
        networks={"quality": network.state_dict()},
        trained={},
        optimizers={"quality": optimizer.state_dict()},
        scaler={},
    )
