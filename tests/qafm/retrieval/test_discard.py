"""Discard curves: by hand, against a naive loop, and what they say of chance and of hindsight."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.errors import InvalidDescriptors
from qafm.retrieval.discard import LIMIT, area_difference, discard_curve, share_of_gain


def test_a_curve_by_hand():
    """Four queries; the worst two by quality are leftmost: 1/4 left out is the one of 0.2, a half that and 0.6."""
    values, quality = np.array([0.6, 1.0, 0.2, 0.8]), np.array([2.0, 9.0, 1.0, 3.0])
    curve = discard_curve(values, quality, np.arange(4), fractions=(0, 0.25, 0.5, 0.75))
    assert curve.mAP == pytest.approx([0.65, 0.8, 0.9, 1.0])


def test_between_two_queries_a_curve_is_straight_in_what_is_left_out():
    """An eighth of four queries is half of the worst one."""
    curve = discard_curve(np.array([0.2, 1.0, 1.0, 1.0]), np.arange(4), np.arange(4), fractions=(0.125,))
    assert curve.mAP == pytest.approx([(0.1 + 3) / 3.5])


def test_it_agrees_with_a_naive_loop():
    generator = np.random.default_rng(0)
    # Of 300 queries every 300th is left out between two steps of the area.
    values, quality = generator.random(300), generator.random(300)
    order = sorted(range(300), key=lambda row: quality[row])
    left = [np.mean([values[row] for row in order[out:]]) for out in range(91)]
    curve = discard_curve(values, quality, np.arange(300), fractions=(0.1, 0.3), resamples=10)
    assert curve.mAP == pytest.approx([left[30], left[90]])
    assert curve.area == pytest.approx(np.mean([left[out] - left[0] for out in range(3, 91, 3)]))


def test_only_the_order_counts_and_equal_qualities_have_none():
    generator = np.random.default_rng(1)
    values, quality, pids = generator.random(60), generator.random(60), np.arange(60) // 3
    curve = discard_curve(values, quality, pids, resamples=20)
    assert discard_curve(values, np.exp(5 * quality) - 100, pids, resamples=20) == curve
    constant = discard_curve(values, np.ones(60), pids, resamples=20)
    assert constant.area == pytest.approx(0) and constant.mAP == pytest.approx([values.mean()] * 11)
    coarse, shuffled = quality.round(1), generator.permutation(60)
    one = discard_curve(values, coarse, pids, resamples=1)
    other = discard_curve(values[shuffled], coarse[shuffled], pids[shuffled], resamples=1)
    assert one.mAP == pytest.approx(other.mAP)


def test_chance_gains_nothing_and_hindsight_the_most():
    generator = np.random.default_rng(2)
    pids = np.arange(900) // 3
    values = np.clip(generator.normal(0.7, 0.2, 300)[pids] + generator.normal(0, 0.1, 900), 0, 1)
    chance, signal = generator.random(900), values + generator.normal(0, 0.2, 900)
    areas = [discard_curve(values, each, pids, resamples=300) for each in (chance, signal, values)]
    assert areas[0].interval.low < 0 < areas[0].interval.high
    assert areas[0].area < areas[1].area < areas[2].area and areas[1].interval.low > 0
    found = area_difference(values, signal, chance, pids, resamples=300)
    assert found.value == pytest.approx(areas[1].area - areas[0].area)
    assert 0 < found.interval.low < found.value < found.interval.high


def test_the_interval_covers_what_another_draw_of_people_gives():
    """In about nineteen of twenty draws; with people of whom each has three queries alike."""
    generator = np.random.default_rng(3)

    def draw(people: int):
        hard = generator.random(people)
        pids = np.repeat(np.arange(people), 3)
        return np.clip(1 - hard[pids] * generator.random(3 * people), 0, 1), -hard[pids], pids

    truth = discard_curve(*draw(60_000), resamples=1).area
    covered = sum(
        low <= truth <= high for low, high in (discard_curve(*draw(80), resamples=200).interval for _ in range(80))
    )
    assert 69 <= covered <= 80


def test_queries_without_a_true_match_are_in_no_mean():
    values = np.array([np.nan, 0.5, 1.0, np.nan])
    curve = discard_curve(values, np.array([np.nan, 1.0, 2.0, -5.0]), np.arange(4), fractions=(0, 0.5))
    assert curve.mAP == pytest.approx([0.75, 1.0])
    summary = curve.summary()
    assert summary["fractions"] == [0, 0.5] and summary["area"] == curve.area > 0 and LIMIT == 0.3


def test_what_has_no_curve_is_refused():
    with pytest.raises(InvalidDescriptors, match="none of the queries has a true match"):
        discard_curve(np.full(2, np.nan), np.ones(2), np.arange(2))
    with pytest.raises(InvalidDescriptors, match="the quality of 1 of 2 queries is NaN"):
        discard_curve(np.ones(2), np.array([1.0, np.nan]), np.arange(2))
    with pytest.raises(ValueError, match="expected one of each a query"):
        discard_curve(np.ones(2), np.ones(3), np.arange(2))


def test_the_share_of_a_gain_by_a_loop():
    """On fifths of the queries nothing lies between two of them."""
    rng = np.random.default_rng(3)
    precision, quality, noise = rng.uniform(size=(3, 20))
    truth = precision + 0.3 * noise
    gains = []
    for signal in (quality, truth):
        kept = sorted(range(20), key=lambda row, signal=signal: signal[row])[4:]
        gains.append(precision[kept].mean() - precision.mean())
    found = share_of_gain(precision, quality, truth, np.arange(20), 0.2)
    assert found.value == pytest.approx(gains[0] / gains[1])
    assert share_of_gain(precision, truth, truth, np.arange(20), 0.2) == (1.0, (1.0, 1.0))
    assert np.isnan(share_of_gain(precision, quality, -truth, np.arange(20), 0.2).value), "that truth gains nothing"
