"""The losses of both training stages. Logits and vectors are float, labels int64; each returns a scalar or [B]."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from qafm.attributes import MISSING, SCHEMA

LABEL_SMOOTHING = 0.1
TRIPLET_MARGIN = 0.3

AlphaLoss = Literal["ratio", "linear"]


def identity_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with label smoothing 0.1. logits [B,P], labels [B] in 0..P-1."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)


def triplet_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Batch-hard triplet loss, margin 0.3, on L2-normalised vectors: they are compared by cosine once trained.

    For each anchor its farthest other picture of the same identity and its nearest of another one. vectors [B,D],
    labels [B]. An anchor without either takes no part; a batch without any triplet gives 0.
    """
    unit = F.normalize(vectors.float(), dim=1)
    # The small number keeps the gradient of the square root finite where two vectors coincide.
    distances = (2 - 2 * unit @ unit.T).clamp(min=0).add(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distances.masked_fill(~same | itself, -1).amax(dim=1)
    nearest = distances.masked_fill(same, torch.inf).amin(dim=1)
    valid = (farthest >= 0) & nearest.isfinite()
    violations = F.relu(TRIPLET_MARGIN + farthest - nearest)[valid]
    return violations.mean() if len(violations) else vectors.sum() * 0


def part_loss(stripes: list[Tensor], labels: Tensor) -> Tensor:
    """Identity losses over the stripes, summed (Eq. 7). stripes: logits [B,P] each."""
    return torch.stack([identity_loss(logits, labels) for logits in stripes]).sum()


def attribute_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """The sum over the 12 heads (Eq. 5): binary cross-entropy for two values, cross-entropy for more.

    logits [B,30], attributes int [B,12]. A missing value takes no part; a head without any value gives 0.
    """
    return torch.stack(
        [head_loss(logits, attributes, head) for head in range(len(SCHEMA))],
    ).sum()


def head_loss(logits: Tensor, attributes: Tensor, head: int) -> Tensor:
    """The loss of one of the 12 heads, its mean over the annotated part of the batch."""
    attribute, values = SCHEMA[head], attributes[:, head].long()
    known = values != MISSING
    columns = logits[known, attribute.columns].float()
    if not len(columns):
        return logits.sum() * 0
    if attribute.binary:
        return F.binary_cross_entropy_with_logits(columns[:, 0], values[known].float())
    return F.cross_entropy(columns, values[known])


def reliability(apn_loss: Tensor, apan_loss: Tensor) -> Tensor:
    """The target α̂ = L_apan / (L_apn + L_apan), [B]: more weight to the branch with the lower loss.

    Both are per-sample, unsmoothed identity losses [B]. The paper's Eq. 2 has L_apn in the numerator, which would
    make α the weight of the other branch than in Eq. 3.
    """
    return apan_loss / (apn_loss + apan_loss).clamp(min=1e-6)


def alpha_loss(kind: AlphaLoss, logits: Tensor, apn_loss: Tensor, apan_loss: Tensor) -> Tensor:
    """What teaches α, from its logits [B] and both branches' per-sample losses [B].

    "ratio": binary cross-entropy to `reliability`. "linear": Eq. 6 with α as APN's weight; its optimum is 0 or 1.
    """
    if kind == "ratio":
        return F.binary_cross_entropy_with_logits(logits, reliability(apn_loss, apan_loss))
    alpha = torch.sigmoid(logits)
    return (alpha * apn_loss + (1 - alpha) * apan_loss).mean()
