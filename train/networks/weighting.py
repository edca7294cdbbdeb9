"""The weightings in their trainable forms: from Q to α (paper, section IV.2, "Dynamic Weighting")."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from qafm.weighting import Weighting
from qafm.weighting.constant import Constant
from qafm.weighting.perceptron import HIDDEN_SIZE, Perceptron
from qafm.weighting.retrieval import Retrieval


class TrainableWeighting(nn.Module, ABC):
    """Q [B] to α [B]. `served` is the same weighting in NumPy."""

    def slope(self) -> list[nn.Parameter]:
        """What makes α differ from picture to picture."""
        return []

    @abstractmethod
    def level(self) -> list[nn.Parameter]:
        """What α is on average."""

    @abstractmethod
    def logits(self, q: Tensor) -> Tensor:
        """The logits of α, float32 [B], for scores Q [B]."""

    def forward(self, q: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(q))

    @abstractmethod
    def served(self) -> Weighting:
        """The same arithmetic in NumPy, with the weights of this moment."""


class TrainablePerceptron(TrainableWeighting):
    """`qafm.weighting.perceptron.Perceptron`. mu and sigma are fixed before training."""

    mu: Tensor
    sigma: Tensor

    def __init__(self, mu: float = 0.0, sigma: float = 1.0) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, HIDDEN_SIZE)
        self.output = nn.Linear(HIDDEN_SIZE, 1)
        # α begins as the same for every picture.
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer("mu", torch.tensor(mu))
        self.register_buffer("sigma", torch.tensor(sigma))

    def slope(self) -> list[nn.Parameter]:
        return [*self.hidden.parameters(), self.output.weight]

    def level(self) -> list[nn.Parameter]:
        return [self.output.bias]

    def logits(self, q: Tensor) -> Tensor:
        z = (q.float() - self.mu) / self.sigma
        return self.output(torch.relu(self.hidden(z.unsqueeze(1)))).squeeze(1)

    def served(self) -> Perceptron:
        arrays = {
            "w1": self.hidden.weight,
            "b1": self.hidden.bias,
            "w2": self.output.weight,
            "b2": self.output.bias,
            "mu": self.mu,
            "sigma": self.sigma,
        }
        return Perceptron(**{name: values.detach().cpu().numpy() for name, values in arrays.items()})


class TrainableConstant(TrainableWeighting):
    """`qafm.weighting.constant.Constant`: one logit, which starts at α = 0.5 and learns, or stays if it is fixed."""

    def __init__(self, fixed: float | None = None) -> None:
        """fixed: a logit that nothing teaches."""
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(fixed or 0.0), requires_grad=fixed is None)

    def level(self) -> list[nn.Parameter]:
        return [self.logit]

    def logits(self, q: Tensor) -> Tensor:
        return self.logit.expand(len(q))

    def served(self) -> Constant:
        return Constant(torch.sigmoid(self.logit).detach().cpu().numpy())


def reads_q(kind: str) -> bool:
    """Whether α depends on Q in the joint stage, for a kind that `joint.weighting` names."""
    return kind == Perceptron.kind


_FIXED = {"visual": 20.0, Retrieval.kind: 0.0}
"""Logits: of an α that is 1 in float32, where its loss is still finite; and of one that favours no branch, until it is
fitted."""


def build_weighting(kind: str, mu: float = 0.0, sigma: float = 1.0) -> TrainableWeighting:
    """A fresh weighting of a kind that `joint.weighting` names.

    mu and sigma: mean and standard deviation of Q over pictures of identities that no network saw. The paper's
    perceptron takes them, and draws its first weights from torch's global generator.
    """
    if kind == Constant.kind:
        return TrainableConstant()
    if kind in _FIXED:
        return TrainableConstant(_FIXED[kind])
    if kind == Perceptron.kind:
        return TrainablePerceptron(mu, sigma)
    raise ValueError(f"expected a kind of weighting that can be trained, got {kind!r}")
