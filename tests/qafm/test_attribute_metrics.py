"""The metrics of attributes: by hand, and against naive loops over images, values, pairs and resamples."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.attribute_metrics import (
    HeadMetrics,
    auc,
    balanced_accuracy,
    balanced_accuracy_intervals,
    head_auc,
    head_metrics,
)
from qafm.attributes import MISSING, SCHEMA
from qafm.contract import ATTRIBUTE_SIZE

NAMES = [attribute.name for attribute in SCHEMA]
GENDER, HAT, AGE, UPPER, LOWER = (NAMES.index(name) for name in ("gender", "hat", "age", "upcolour", "downcolour"))


def test_balanced_accuracy_by_hand():
    """Four without a hat, three of them told right; the one with a hat is missed. And always the same answer: 1/K."""
    assert balanced_accuracy(np.array([0, 0, 0, 1, 0]), np.array([0, 0, 0, 0, 1])) == (3 / 4 + 0) / 2
    assert balanced_accuracy(np.zeros(5, int), np.array([0, 0, 0, 0, 1])) == 1 / 2
    assert balanced_accuracy(np.full(4, 3), np.array([3, 0, 3, 8])) == 1 / 3, "values that do not occur do not count"


def test_auc_by_hand():
    """Positives 0.9 and 0.5, negatives 0.5 and 0.1: of four pairs three are in order and one is a tie."""
    assert auc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])) == 3.5 / 4
    assert auc(np.full(3, 0.5), np.array([True, False, False])) == 1 / 2
    assert auc(np.array([0.9, 0.1]), np.array([True, True])) is None
    assert auc(np.array([0.9, 0.1]), np.array([False, False])) is None


def test_auc_of_several_values_by_hand():
    """Two old, one young, nobody of the other ages. Young against the rest: 1; old against the rest: a pair of two."""
    probabilities = np.array([[0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.1, 0.3], [0.5, 0.3, 0.1, 0.1]])
    assert head_auc(SCHEMA[AGE], probabilities, np.array([0, 3, 3])) == (1 + 1 / 2) / 2
    assert head_auc(SCHEMA[AGE], probabilities, np.array([3, 3, 3])) is None


def test_head_metrics_by_hand():
    """Three images: gender told right twice of three; an upper colour missing; no lower colour annotated at all."""
    labels = np.zeros((3, len(SCHEMA)), np.int8)
    probabilities = np.zeros((3, ATTRIBUTE_SIZE), np.float32)
    for attribute in SCHEMA:
        if not attribute.binary:
            probabilities[:, attribute.columns.start] = 1  # the first value, which all labels have
    labels[:, GENDER] = [1, 0, 1]
    probabilities[:, SCHEMA[GENDER].columns] = [[0.9], [0.2], [0.4]]
    labels[:, UPPER] = [0, MISSING, 1]
    labels[:, LOWER] = MISSING
    found = head_metrics(probabilities, labels)
    assert found["gender"] == HeadMetrics(
        2 / 3, majority=2 / 3, balanced_accuracy=(1 + 1 / 2) / 2, auc=1, images=3, values=2
    )
    assert found["upcolour"] == HeadMetrics(
        1 / 2, majority=1 / 2, balanced_accuracy=1 / 2, auc=1 / 2, images=2, values=2
    )
    assert found["hat"] == HeadMetrics(1, majority=1, balanced_accuracy=1, auc=None, images=3, values=1)
    assert found.keys() == set(NAMES) - {"downcolour"}
    with_pids = head_metrics(probabilities, labels, np.array([1, 2, 3]))
    assert with_pids["hat"].balanced_accuracy_interval == (1, 1) and found["hat"].balanced_accuracy_interval is None
    assert json.loads(json.dumps(asdict(with_pids["gender"])))["balanced_accuracy_interval"] == [0, 1]


def drawn(seed, images):
    """Probabilities that are often equal, labels of which some are missing."""
    generator = np.random.default_rng(seed)
    probabilities = generator.integers(0, 5, (images, ATTRIBUTE_SIZE)) / np.float32(4)
    sizes = [len(attribute.values) for attribute in SCHEMA]
    labels = np.stack([generator.integers(-1, size, images) for size in sizes], axis=1).astype(np.int8)
    return probabilities, labels


def naive(attribute, probabilities, labels):
    """{value: images right, images}, and {value: AUC against the rest} where both sides have images."""
    recalls, aucs = {}, {}
    for row, actual in enumerate(labels):
        if actual == MISSING:
            continue
        mine = probabilities[row, attribute.columns]
        guessed = int(mine[0] > 0.5) if attribute.binary else int(mine.argmax())
        right, count = recalls.get(int(actual), (0, 0))
        recalls[int(actual)] = (right + (guessed == actual), count + 1)
    for value in [1] if attribute.binary else recalls:
        scores = probabilities[:, attribute.start + (0 if attribute.binary else value)]
        won = [
            1.0 if scores[a] > scores[b] else 0.5 if scores[a] == scores[b] else 0.0
            for a in range(len(labels))
            for b in range(len(labels))
            if labels[a] == value and labels[b] not in (value, MISSING)
        ]
        if won:
            aucs[value] = sum(won) / len(won)
    return recalls, aucs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_head_metrics_against_a_naive_loop(seed, images):
    probabilities, labels = drawn(seed, images)
    found = head_metrics(probabilities, labels)
    for column, attribute in enumerate(SCHEMA):
        recalls, aucs = naive(attribute, probabilities, labels[:, column])
        if not recalls:
            assert attribute.name not in found
            continue
        total = sum(count for _, count in recalls.values())
        head = found[attribute.name]
        assert head.accuracy == pytest.approx(sum(right for right, _ in recalls.values()) / total)
        assert head.majority == pytest.approx(max(count for _, count in recalls.values()) / total)
        assert head.balanced_accuracy == pytest.approx(np.mean([right / count for right, count in recalls.values()]))
        assert head.auc == (pytest.approx(np.mean(list(aucs.values()))) if aucs else None)
        assert head.images == total


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_intervals_against_a_naive_loop(seed, images):
    """Resamples of identities, each measured by itself."""
    probabilities, labels = drawn(seed, images)
    pids = np.random.default_rng(seed + 1).integers(1, 5, images)
    found = balanced_accuracy_intervals(probabilities, labels, pids, resamples=20, seed=seed)
    identities, generator = sorted(set(pids.tolist())), np.random.default_rng(seed)
    samples = {name: [] for name in NAMES}
    for places in generator.integers(0, len(identities), (20, len(identities))):
        rows = np.concatenate([np.flatnonzero(pids == identities[place]) for place in places])
        for name, head in head_metrics(probabilities[rows], labels[rows]).items():
            samples[name].append(head.balanced_accuracy)
    expected = {name: np.quantile(of, [0.025, 0.975]) for name, of in samples.items() if of}
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(tuple(expected[name])) for name in found)


def test_an_interval_is_as_wide_as_its_rarest_value_allows():
    """1,000 images of 500 people: with a hat are ten of them, all told right or wrong at random."""
    generator = np.random.default_rng(0)
    pids = np.repeat(np.arange(500), 2)
    labels = np.full((1000, len(SCHEMA)), MISSING, np.int8)
    labels[:, HAT], labels[:, GENDER] = pids < 10, pids % 2
    probabilities = np.zeros((1000, ATTRIBUTE_SIZE), np.float32)
    for column in (HAT, GENDER):
        wrong = (generator.random(500) < 0.3)[pids]
        probabilities[:, SCHEMA[column].start] = np.where(wrong, 1 - labels[:, column], labels[:, column])
    found = balanced_accuracy_intervals(probabilities, labels, pids)
    low, high = found["gender"]
    # Each recall is the mean of 250 people's, right with probability 0.7; two of them are averaged.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 250 / 2), rel=0.15)
    assert found["hat"].high - found["hat"].low > 2.5 * (high - low)


def test_lengths_that_differ_are_refused():
    probabilities, labels = drawn(0, 4)
    with pytest.raises(ValueError, match="4 rows of probabilities, 4 of labels and 3 pids; expected one of each"):
        balanced_accuracy_intervals(probabilities, labels, np.arange(3))
