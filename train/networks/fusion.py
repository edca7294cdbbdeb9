"""Quality-aware fusion: α from Q, and the descriptor from v_a, v_s and α (paper, Eq. 3 and "Final Layer")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qafm.contract import DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.weighting.perceptron import HIDDEN_SIZE, AlphaNetwork


class Weighting(nn.Module):
    """Q [B] to α [B]: the trainable form of `qafm.weighting.perceptron.AlphaNetwork`.

    mu and sigma are fixed before training.
    """

    mu: Tensor
    sigma: Tensor

    def __init__(self, mu: float = 0.0, sigma: float = 1.0) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, HIDDEN_SIZE)
        self.output = nn.Linear(HIDDEN_SIZE, 1)
        self.register_buffer("mu", torch.tensor(mu))
        self.register_buffer("sigma", torch.tensor(sigma))

    def logits(self, q: Tensor) -> Tensor:
        z = (q.float() - self.mu) / self.sigma
        return self.output(torch.relu(self.hidden(z.unsqueeze(1)))).squeeze(1)

    def forward(self, q: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(q))

    def network(self) -> AlphaNetwork:
        """The same arithmetic in NumPy, as it is served."""
        arrays = {
            "w1": self.hidden.weight,
            "b1": self.hidden.bias,
            "w2": self.output.weight,
            "b2": self.output.bias,
            "mu": self.mu,
            "sigma": self.sigma,
        }
        return AlphaNetwork(**{name: values.detach().cpu().numpy() for name, values in arrays.items()})


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


class Fusion(nn.Module):
    """v_a, v_s [B,1024] and α [B] to the descriptor [B,1000], L2-normalised.

    `compress` starts with orthonormal rows, which keep the angles of the concatenation (Eq. 3) nearly as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.projections = Projections()
        self.compress = nn.Linear(2 * VECTOR_SIZE, DESCRIPTOR_SIZE, bias=False)
        nn.init.orthogonal_(self.compress.weight)

    @staticmethod
    def concatenate(visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        """V = [α·v_a, (1-α)·v_s] (Eq. 3), float [B,2048], of projected vectors."""
        weight = alpha.unsqueeze(1)
        return torch.cat([weight * visual, (1 - weight) * semantic], dim=1)

    def forward(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> Tensor:
        projected = self.projections(visual, semantic)
        return F.normalize(self.compress(self.concatenate(*projected, alpha)), dim=1)
