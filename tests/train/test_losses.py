"""Each loss against a naive loop, and a case small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.attributes import MISSING, SCHEMA
from train.losses import (
    alpha_loss,
    attribute_loss,
    head_loss,
    identity_loss,
    masked_mean,
    part_loss,
    reliability,
    triplet_loss,
    with_margin,
)
from train.settings import LossSettings


def naive_cross_entropy(logits: list[float], label: int, smoothing: float = 0.0) -> float:
    total = sum(math.exp(value) for value in logits)
    log_shares = [value - math.log(total) for value in logits]
    target = [smoothing / len(logits) + (1 - smoothing) * (k == label) for k in range(len(logits))]
    return -sum(t * log_share for t, log_share in zip(target, log_shares, strict=True))


def naive_triplet(vectors: np.ndarray, labels: list[int], margin: float = 0.3) -> float:
    unit = [row / np.linalg.norm(row) for row in vectors]
    losses = []
    for a in range(len(unit)):
        same = [np.linalg.norm(unit[a] - unit[b]) for b in range(len(unit)) if b != a and labels[b] == labels[a]]
        other = [np.linalg.norm(unit[a] - unit[b]) for b in range(len(unit)) if labels[b] != labels[a]]
        if same and other:
            losses.append(max(0.0, margin + max(same) - min(other)))
    return sum(losses) / len(losses) if losses else 0.0


def test_identity_loss_is_smoothed_cross_entropy():
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = np.mean(
        [naive_cross_entropy(row, label, 0.1) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    )
    assert identity_loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_identity_loss_by_hand():
    """Equal logits over four identities: whatever the target, ln 4."""
    assert identity_loss(torch.zeros(2, 4), torch.tensor([1, 3])).item() == pytest.approx(math.log(4))


def test_part_loss_sums_over_the_stripes():
    stripes = [torch.zeros(3, 4), torch.zeros(3, 4)]
    assert part_loss(stripes, torch.tensor([0, 1, 2])).item() == pytest.approx(2 * math.log(4))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=10), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_triplet_loss_agrees_with_a_loop(labels, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 8))
    got = triplet_loss(torch.from_numpy(vectors), torch.tensor(labels)).item()
    assert got == pytest.approx(naive_triplet(vectors, labels), abs=1e-4)


def test_triplet_loss_by_hand():
    """Two at 0 degrees, one of another identity at 90: 0 + 0.3 - sqrt 2 < 0. At 0 degrees too: the whole margin."""
    right, up = [1.0, 0.0], [0.0, 1.0]
    labels = torch.tensor([0, 0, 1])
    assert triplet_loss(torch.tensor([right, right, up]), labels).item() == 0
    assert triplet_loss(torch.tensor([right, right, right]), labels).item() == pytest.approx(0.3, abs=1e-4)


def test_triplet_loss_without_triplets_is_zero_and_has_a_gradient():
    vectors = torch.randn(3, 4, requires_grad=True)
    triplet_loss(vectors, torch.tensor([0, 1, 2])).backward()
    assert vectors.grad is not None and not vectors.grad.any()


def naive_soft_triplet(vectors: np.ndarray, labels: list[int], weighted: bool) -> float:
    losses = []
    for a in range(len(vectors)):
        distances = [float(np.linalg.norm(vectors[a] - other)) for other in vectors]
        same = [d for b, d in enumerate(distances) if b != a and labels[b] == labels[a]]
        other = [d for b, d in enumerate(distances) if labels[b] != labels[a]]
        if not same or not other:
            continue
        far, near = max(same), min(other)
        if weighted:
            shares = [math.exp(d) for d in same], [math.exp(-d) for d in other]
            far = sum(w * d for w, d in zip(shares[0], same, strict=True)) / sum(shares[0])
            near = sum(w * d for w, d in zip(shares[1], other, strict=True)) / sum(shares[1])
        losses.append(math.log1p(math.exp(far - near)))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("kind", ["soft", "weighted"])
@given(st.lists(st.integers(0, 3), min_size=2, max_size=10), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_soft_triplet_losses_agree_with_a_loop(kind, labels, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 8))
    got = triplet_loss(torch.from_numpy(vectors), torch.tensor(labels), kind).item()
    assert got == pytest.approx(naive_soft_triplet(vectors, labels, kind == "weighted"), abs=1e-3)


@pytest.mark.parametrize("kind", ["soft", "weighted"])
def test_soft_triplet_losses_by_hand(kind):
    """0 and 3 of one identity, 7 of another: softplus of 3 - 7 and of 3 - 4; the third has no other of its own."""
    vectors, labels = torch.tensor([[0.0], [3.0], [7.0]]), torch.tensor([0, 0, 1])
    expected = (math.log1p(math.exp(-4)) + math.log1p(math.exp(-1))) / 2
    assert triplet_loss(vectors, labels, kind).item() == pytest.approx(expected, abs=1e-4)


def test_margins_by_hand():
    """Cosines 0.5 of its own class and 0.1, scale 10, margin 0.25."""
    logits, labels = torch.tensor([[5.0, 1.0]]), torch.tensor([0])
    cosine = LossSettings(identity="cosine", scale=10.0, margin=0.25)
    assert with_margin(logits, labels, cosine)[0].tolist() == pytest.approx([2.5, 1.0])
    circle = LossSettings(identity="circle", scale=10.0, margin=0.25)
    expected = [10 * 0.75 * (0.5 - 0.75), 10 * 0.35 * (0.1 - 0.25)]
    assert with_margin(logits, labels, circle)[0].tolist() == pytest.approx(expected)
    assert torch.equal(with_margin(logits, labels, LossSettings()), logits)


def test_circle_loss_does_not_learn_through_its_weights():
    logits = torch.tensor([[5.0, 1.0]], requires_grad=True)
    settings_ = LossSettings(identity="circle", scale=10.0, margin=0.25)
    with_margin(logits, torch.tensor([0]), settings_).sum().backward()
    assert logits.grad is not None and logits.grad[0].tolist() == pytest.approx([0.75, 0.35])


def test_a_masked_mean_by_hand():
    losses = torch.tensor([1.0, torch.nan, 3.0], requires_grad=True)
    assert masked_mean(losses, torch.tensor([True, False, True])).item() == 2
    assert masked_mean(losses, torch.tensor([False] * 3)).item() == 0


def attributes_and_logits(seed: int = 0, count: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    attributes = np.stack([generator.integers(0, len(a.values), count) for a in SCHEMA], axis=1)
    attributes[:3, -1] = MISSING
    return torch.from_numpy(attributes), torch.from_numpy(generator.normal(size=(count, 30)).astype(np.float32))


def test_attribute_loss_agrees_with_a_loop_and_masks_missing_colours():
    attributes, logits = attributes_and_logits()
    total = 0.0
    for head, attribute in enumerate(SCHEMA):
        losses = []
        for row in range(len(logits)):
            value = int(attributes[row, head])
            if value == MISSING:
                continue
            columns = logits[row, attribute.columns].tolist()
            if attribute.binary:
                probability = 1 / (1 + math.exp(-columns[0]))
                losses.append(-math.log(probability if value else 1 - probability))
            else:
                losses.append(naive_cross_entropy(columns, value))
        total += sum(losses) / len(losses)
    assert attribute_loss(logits, attributes).item() == pytest.approx(total, rel=1e-5)


def test_a_head_without_any_value_gives_zero():
    attributes, logits = attributes_and_logits()
    attributes[:, -1] = MISSING
    assert head_loss(logits, attributes, len(SCHEMA) - 1).item() == 0


def test_a_missing_colour_gets_no_gradient():
    attributes, logits = attributes_and_logits()
    logits.requires_grad_()
    attribute_loss(logits, attributes).backward()
    assert logits.grad is not None
    assert not logits.grad[:3, SCHEMA[-1].columns].any() and logits.grad[3:, SCHEMA[-1].columns].any()


def test_reliability_favours_the_branch_with_the_lower_loss():
    got = reliability(torch.tensor([1.0, 3.0, 0.0]), torch.tensor([3.0, 1.0, 0.0]))
    assert got.tolist() == pytest.approx([0.75, 0.25, 0.0])


def test_alpha_losses_by_hand():
    logits = torch.zeros(1)  # α = 0.5
    apn, apan = torch.tensor([1.0]), torch.tensor([3.0])
    assert alpha_loss("ratio", logits, apn, apan).item() == pytest.approx(math.log(2))
    assert alpha_loss("linear", logits, apn, apan).item() == pytest.approx(0.5 * 1 + 0.5 * 3)


@pytest.mark.parametrize("kind", ["ratio", "linear"])
def test_both_alpha_losses_raise_alpha_where_apn_is_the_better(kind):
    logits = torch.zeros(1, requires_grad=True)
    alpha_loss(kind, logits, torch.tensor([1.0]), torch.tensor([3.0])).sum().backward()
    assert logits.grad is not None and logits.grad.item() < 0
