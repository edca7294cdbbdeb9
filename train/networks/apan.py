"""The Attribute Pyramid Attention Network: soft biometrics and the semantic vector v_s (paper, section IV.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qafm.attributes import MISSING, SCHEMA
from qafm.contract import VECTOR_SIZE
from train.networks.layers import convolution
from train.networks.trunk import Trunk

KERNELS = (3, 5, 7)


class PAFM(nn.Module):
    """Pyramid Attention Feature Module: 3x3, 5x5 and 7x7 branches with global context as pixel-wise attention.

    [B,inputs,H,W] to [B,channels,H,W]. The channels are reduced before the wide kernels.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.reduce = convolution(inputs, channels)
        self.branches = nn.ModuleList(convolution(channels, channels, kernel) for kernel in KERNELS)
        self.context = nn.Conv2d(channels, channels, 1)
        self.attention = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        pyramid = self.context(reduced.mean(dim=(2, 3), keepdim=True))
        for branch in self.branches:
            pyramid = pyramid + branch(reduced)
        return reduced * torch.sigmoid(self.attention(pyramid))


class ConvLSTM(nn.Module):
    """One convolutional LSTM cell (Shi et al. 2015, the paper's [12], without peepholes).

    forget_bias: where the forget gate starts. With 2 it keeps 0.88 of its memory from turn to turn.
    """

    def __init__(self, inputs: int, hidden: int, forget_bias: float = 2.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)
        assert self.gates.bias is not None
        nn.init.constant_(self.gates.bias[hidden : 2 * hidden], forget_bias)

    def forward(self, features: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """features [B,inputs,H,W], state (belief, memory) each [B,hidden,H,W]; returns the next state."""
        belief, memory = state
        into, forget, out, new = self.gates(torch.cat([features, belief], dim=1)).chunk(4, dim=1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(into) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(memory), memory


class APAN(nn.Module):
    """Trunk, PAFM, a ConvLSTM that reads the attributes in turn, 12 heads.

    Returns the semantic vector v_s float [B,1024] and the attribute logits float [B,30], in the columns of the
    ATTRIBUTES tensor. Each head reads the belief of its own turn, which has seen the turns before it, and v_s, which
    sums up all of them and learns from the heads alone.
    """

    def __init__(
        self, trunk: Trunk, channels: int = 256, *, forget_bias: float = 2.0, belief_norm: bool = True
    ) -> None:
        super().__init__()
        hidden = channels // 2
        self.trunk = trunk
        self.attend = PAFM(Trunk.CHANNELS[-1], channels)
        self.turns = nn.ModuleList(nn.Conv2d(channels, hidden, 1) for _ in SCHEMA)
        self.memory = ConvLSTM(hidden, hidden, forget_bias)
        self.embed = nn.Sequential(
            nn.Linear(len(SCHEMA) * hidden, VECTOR_SIZE, bias=False), nn.BatchNorm1d(VECTOR_SIZE)
        )
        # Beliefs are means of small numbers, and stand beside v_s, which is normalised.
        self.normalise = nn.ModuleList(nn.BatchNorm1d(hidden) if belief_norm else nn.Identity() for _ in SCHEMA)
        self.heads = nn.ModuleList(
            nn.Linear(hidden + VECTOR_SIZE, 1 if attribute.binary else len(attribute.values)) for attribute in SCHEMA
        )

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        attended = self.attend(self.trunk(crops)[-1])
        zero = torch.zeros_like(attended[:, : self.memory.hidden])
        state, beliefs = (zero, zero), []
        for turn in self.turns:
            state = self.memory(turn(attended), state)
            beliefs.append(state[0].mean(dim=(2, 3)))
        semantic = self.embed(torch.cat(beliefs, dim=1))
        logits = [
            head(torch.cat([normalise(belief), semantic], dim=1))
            for head, normalise, belief in zip(self.heads, self.normalise, beliefs, strict=True)
        ]
        return semantic, torch.cat(logits, dim=1)

    @torch.no_grad()
    def start_at(self, logits: Tensor) -> None:
        """Have the heads begin with these logits, float [30], for a picture that says nothing."""
        for head, attribute in zip(self.heads, SCHEMA, strict=True):
            head.bias.copy_(logits[attribute.columns])


def attribute_priors(attributes: np.ndarray) -> Tensor:
    """The logits, float32 [30], that answer with the frequencies in `attributes`, int [N,12] of training pictures.

    Every value counts once more than it occurs, so that none is impossible.
    """
    logits = []
    for attribute, values in zip(SCHEMA, attributes.T, strict=True):
        counts = 1.0 + np.bincount(values[values != MISSING], minlength=len(attribute.values))
        logs = np.log(counts / counts.sum())
        logits.append(logs[1:] - logs[:1] if attribute.binary else logs)
    return torch.from_numpy(np.concatenate(logits)).float()


def attribute_probabilities(logits: Tensor) -> Tensor:
    """Logits [B,30] to the probabilities of the ATTRIBUTES tensor: a sigmoid or a softmax for each attribute."""
    return torch.cat(
        [
            torch.sigmoid(logits[:, attribute.columns])
            if attribute.binary
            else torch.softmax(logits[:, attribute.columns], dim=1)
            for attribute in SCHEMA
        ],
        dim=1,
    )
