"""Quality-aware fusion: the descriptor from v_a, v_s and α (paper, Eq. 3 and "Final Layer")."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qafm.contract import DESCRIPTOR_SIZE, VECTOR_SIZE
from train.networks.layers import neck


class Projections(nn.Module):
    """Bring v_a and v_s into a common space, on one scale, so that α alone weighs them against each other.

    Both start as the identity: before they have learnt anything, they lose nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Linear(VECTOR_SIZE, VECTOR_SIZE, bias=False)
        self.semantic = nn.Linear(VECTOR_SIZE, VECTOR_SIZE, bias=False)
        nn.init.eye_(self.visual.weight)
        nn.init.eye_(self.semantic.weight)

    def forward(self, visual: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.visual(visual), dim=1), F.normalize(self.semantic(semantic), dim=1)


class DescriptorHead(nn.Module, ABC):
    """v_a, v_s [B,1024] and α [B] to the descriptor [B,1000], L2-normalised, through one FC.

    `compress` starts with orthonormal rows, which keep the angles of what it reads nearly as they are. after_neck:
    whether the descriptor is taken after the normalisation before the identity classifier (with a shift of 0 then, as
    BoT has it), or before.
    """

    def __init__(self, inputs: int, *, after_neck: bool = False) -> None:
        super().__init__()
        self.after_neck = after_neck
        self.compress = nn.Linear(inputs, DESCRIPTOR_SIZE, bias=False)
        nn.init.orthogonal_(self.compress.weight)
        self.neck = neck(DESCRIPTOR_SIZE, shifts=not after_neck)

    @abstractmethod
    def read(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        """What `compress` reads, float [B,inputs]."""

    @torch.no_grad()
    def keep_angles(self, visual: Tensor, semantic: Tensor) -> None:
        """Give `compress` the rows that lose least of what it reads of N pictures: its principal directions,
        orthonormal, not centred, for it is cosines that have to stay. α weighs both branches alike here; what these
        rows lose is next to nothing for any other α too."""
        weight = self.compress.weight
        halves = torch.full((len(visual),), 0.5, device=weight.device)
        # In float32: an eigenvector is not to be had of bfloat16, on a GPU not at all.
        with torch.autocast(weight.device.type, enabled=False):
            mixed = self.read(visual.to(weight), semantic.to(weight), halves)
            _, directions = torch.linalg.eigh(mixed.T @ mixed)
        weight.copy_(directions[:, -DESCRIPTOR_SIZE:].T)

    def unscaled(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        """The descriptor before it gets length 1, affine in α."""
        compressed: Tensor = self.compress(self.read(visual, semantic, alpha))
        return self.neck(compressed) if self.after_neck else compressed

    def forward(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        return F.normalize(self.unscaled(visual, semantic, alpha), dim=1)


class VisualHead(DescriptorHead):
    """The descriptor of v_a alone, of a run without attributes: v_s and α are passed over."""

    def __init__(self, *, after_neck: bool = False) -> None:
        super().__init__(VECTOR_SIZE, after_neck=after_neck)

    def read(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        return F.normalize(visual, dim=1)


class Fusion(DescriptorHead):
    """The paper's: the FC reads the concatenation of both branches, weighed by α (Eq. 3)."""

    def __init__(self, *, after_neck: bool = False) -> None:
        super().__init__(2 * VECTOR_SIZE, after_neck=after_neck)
        self.projections = Projections()

    @staticmethod
    def concatenate(visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        """V = [α·v_a, (1-α)·v_s] (Eq. 3), float [B,2048], of projected vectors."""
        weight = alpha.unsqueeze(1)
        return torch.cat([weight * visual, (1 - weight) * semantic], dim=1)

    def read(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        return self.concatenate(*self.projections(visual, semantic), alpha)
