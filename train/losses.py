"""The losses of all training stages. Logits and vectors are float, labels int64; each returns a scalar or [B]."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from qafm.attributes import MISSING, SCHEMA
from train.settings import LossSettings

LABEL_SMOOTHING = 0.1
TRIPLET_MARGIN = 0.3
_PAPERS = LossSettings()
_FAR = 1e9

AlphaLoss = Literal["ratio", "linear"]
TripletKind = Literal["hard", "soft", "weighted"]


def identity_loss(logits: Tensor, labels: Tensor, losses: LossSettings = _PAPERS) -> Tensor:
    """Cross-entropy with label smoothing 0.1, over logits with their margin. logits [B,P], labels [B] in 0..P-1."""
    return F.cross_entropy(with_margin(logits.float(), labels, losses), labels, label_smoothing=LABEL_SMOOTHING)


def with_margin(logits: Tensor, labels: Tensor, losses: LossSettings) -> Tensor:
    """Logits [B,P], which for all but "softmax" are `losses.scale` times cosines, made harder for their own class.

    "cosine": the margin m is taken from its cosine s (Wang et al. 2018, CosFace). "circle": s becomes
    relu(1 + m - s)(s - 1 + m) for its own class and relu(s + m)(s - m) for the others, the first factor of each
    without a gradient (Sun et al. 2020).
    """
    if losses.identity == "softmax":
        return logits
    scale, margin = losses.scale, losses.margin
    own = F.one_hot(labels, logits.shape[1]).bool()
    if losses.identity == "cosine":
        return torch.where(own, logits - scale * margin, logits)
    cosines = logits / scale
    towards = F.relu(1 + margin - cosines.detach()) * (cosines - (1 - margin))
    away = F.relu(cosines.detach() + margin) * (cosines - margin)
    return scale * torch.where(own, towards, away)


def triplet_loss(vectors: Tensor, labels: Tensor, kind: TripletKind = "hard") -> Tensor:
    """A triplet loss over all anchors of a batch. vectors [B,D], labels [B].

    "hard": for each anchor its farthest other picture of the same identity and its nearest of another one, margin
    0.3, on L2-normalised vectors: they are compared by cosine once trained. "soft": the same two, softplus of their
    difference instead of a margin, on vectors as they are (Hermans et al. 2017). "weighted": as "soft", but with the
    mean over all of the same identity, weighted by a softmax of distance, and over all others, by one of nearness
    (Ye et al. 2021, AGW). An anchor without either takes no part; a batch without any triplet gives 0.
    """
    distances = _distances(F.normalize(vectors.float(), dim=1) if kind == "hard" else vectors.float())
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive, negative = same & ~itself, ~same
    valid = positive.any(dim=1) & negative.any(dim=1)
    if kind == "weighted":
        to_same = _weighted_mean(distances, distances, positive)
        to_others = _weighted_mean(distances, -distances, negative)
    else:
        to_same = distances.masked_fill(~positive, -_FAR).amax(dim=1)
        to_others = distances.masked_fill(~negative, _FAR).amin(dim=1)
    difference = (to_same - to_others).masked_fill(~valid, 0)
    violations = F.relu(TRIPLET_MARGIN + difference) if kind == "hard" else F.softplus(difference)
    # No boolean index and no branch on a tensor: on a GPU each waits for all that was queued before.
    return (violations * valid).sum() / valid.sum().clamp(min=1)


def _distances(vectors: Tensor) -> Tensor:
    """Euclidean, [B,B]."""
    squares = vectors.square().sum(dim=1)
    # The small number keeps the gradient of the square root finite where two vectors coincide.
    return (squares[:, None] + squares[None] - 2 * vectors @ vectors.T).clamp(min=0).add(1e-12).sqrt()


def _weighted_mean(distances: Tensor, weights: Tensor, taken: Tensor) -> Tensor:
    """[B], over what is taken of each row, by a softmax of the weights."""
    shares = torch.softmax(weights.masked_fill(~taken, -_FAR), dim=1)
    return (shares * distances).sum(dim=1)


def part_loss(stripes: list[Tensor], labels: Tensor, losses: LossSettings = _PAPERS) -> Tensor:
    """Identity losses over the stripes, summed (Eq. 7). stripes: logits [B,P] each."""
    return torch.stack([identity_loss(logits, labels, losses) for logits in stripes]).sum()


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
    columns = logits[:, attribute.columns].float()
    if attribute.binary:
        losses = F.binary_cross_entropy_with_logits(columns[:, 0], values.clamp(min=0).float(), reduction="none")
    else:
        losses = F.cross_entropy(columns, values, ignore_index=MISSING, reduction="none")
    return masked_mean(losses, known)


def masked_mean(losses: Tensor, counted: Tensor) -> Tensor:
    """The mean of losses [B] over those that count, bool [B]; 0, with a gradient of 0, where none does."""
    return losses.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


def reliability(apn_loss: Tensor, apan_loss: Tensor) -> Tensor:
    """The target α̂ = L_apan / (L_apn + L_apan), [B]: more weight to the branch with the lower loss.

    Both are per-sample, unsmoothed identity losses [B]. The paper's Eq. 2 has L_apn in the numerator, which would
    make α the weight of the other branch than in Eq. 3.
    """
    return apan_loss / (apn_loss + apan_loss).clamp(min=1e-6)


def alpha_loss(kind: AlphaLoss, logits: Tensor, apn_loss: Tensor, apan_loss: Tensor) -> Tensor:
    """What teaches α, [B], from its logits [B] and both branches' per-sample losses [B].

    "ratio": binary cross-entropy to `reliability`. "linear": Eq. 6 with α as APN's weight; its optimum is 0 or 1.
    """
    if kind == "ratio":
        return F.binary_cross_entropy_with_logits(logits, reliability(apn_loss, apan_loss), reduction="none")
    alpha = torch.sigmoid(logits)
    return alpha * apn_loss + (1 - alpha) * apan_loss
