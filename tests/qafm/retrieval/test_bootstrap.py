"""The bootstrap over identities against its definition, by hand, and on drawn results whose truth is known."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors
from qafm.retrieval.bootstrap import (
    Difference,
    Interval,
    difference,
    identity_sums,
    interval,
    percentile_interval,
    resampled_sums,
)


def drawn(generator, identities, runs=1, *, of_identity=0.25, of_run=0.0, of_both=0.0, of_query=0.1):
    """Values [S,N] of true mean 0, with what each level adds to them: and the pids, 1 to 6 queries an identity."""
    pids = np.repeat(np.arange(identities), generator.integers(1, 7, identities))
    shared = generator.normal(0, of_identity, identities)
    values = [
        (shared + generator.normal(0, of_both, identities))[pids]
        + generator.normal(0, of_run)
        + generator.normal(0, of_query, len(pids))
        for _ in range(runs)
    ]
    return np.array(values), pids


def naive_means(values, pids, resamples, seed):
    """The mean over queries in each resample, one identity after the other."""
    identities = sorted({pid for pid, value in zip(pids, values, strict=True) if not np.isnan(value)})
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        mine = []
        for place in generator.integers(0, len(identities), len(identities)):
            mine += [v for pid, v in zip(pids, values, strict=True) if pid == identities[place] and not np.isnan(v)]
        means.append(sum(mine) / len(mine))
    return np.array(means)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_intervals_against_a_naive_loop(seed, identities):
    generator = np.random.default_rng(seed)
    values, pids = drawn(generator, identities)
    values = values[0]
    values[1:][generator.random(len(values) - 1) < 0.2] = np.nan
    shuffled = generator.permutation(len(pids))
    means = naive_means(values, pids, 40, seed)
    found = interval(values[shuffled], pids[shuffled], resamples=40, seed=seed)
    assert found == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    other = values**2
    one_by_one = means - naive_means(other, pids, 40, seed)
    paired = difference(values, other, pids, resamples=40, seed=seed)
    assert paired.value == pytest.approx(np.nanmean(values) - np.nanmean(other))
    assert paired.interval == pytest.approx(tuple(np.quantile(one_by_one, [0.025, 0.975])))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_runs_are_resampled_as_in_a_naive_loop(seed, runs, other_runs, paired):
    other_runs = runs if paired else other_runs
    generator = np.random.default_rng(seed)
    values, pids = drawn(generator, 5, runs + other_runs)
    one, other = values[:runs], values[runs:]
    means = np.array([naive_means(row, pids, 30, seed) for row in values])
    chosen = [
        np.random.default_rng([seed, stream]).integers(0, count, (30, max(1, count - 1)))
        for stream, count in ((1, runs), (2, other_runs))
    ]
    if paired:
        chosen[1] = chosen[0]
    samples = []
    for row in range(30):
        first = np.mean([means[run, row] for run in chosen[0][row]])
        second = np.mean([means[runs + run, row] for run in chosen[1][row]])
        samples.append(first - second)
    found = difference(one, other, pids, paired_runs=paired, resamples=30, seed=seed)
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.interval == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))


def test_sums_by_hand():
    sums = identity_sums(np.array([[1.0, 1], [2, 1], [4, 1]]), np.array([7, 3, 7]))
    assert sums.tolist() == [[2, 1], [5, 2]]
    resampled = {tuple(row) for row in resampled_sums(sums, resamples=50)}
    assert resampled == {(4, 2), (7, 3), (10, 4)}, "twice the first, both, twice the second"


def test_an_interval_by_hand():
    """Two identities, one right with its one query, one wrong with its three: means 1, 1/4 and 0, a quarter, a half and
    a quarter of the resamples. So both ends of the interval are outermost."""
    values, pids = np.array([1.0, 0, 0, 0, np.nan]), np.array([1, 2, 2, 2, 3])
    assert interval(values, pids) == (0, 1)
    means = {tuple(row) for row in resampled_sums(identity_sums(np.eye(2), np.array([1, 2])), resamples=4000)}
    assert means == {(2, 0), (1, 1), (0, 2)}
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_a_difference_by_hand():
    """Better by 0.2 for one identity with two queries, by 0.5 for the other with one: 0.3 on average."""
    pids = np.array([4, 4, 9])
    found = difference(np.array([0.5, 0.7, 0.9]), np.array([0.3, 0.5, 0.4]), pids)
    assert found.value == pytest.approx(0.3) and found.interval == pytest.approx((0.2, 0.5))
    same = difference(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]), pids)
    assert same == Difference(0, Interval(0, 0))
    assert json.loads(json.dumps(same.summary())) == {"value": 0, "interval": [0, 0]}


def test_queries_of_one_identity_do_not_count_as_independent():
    """The same values, told whose they are, and as if every query were of another identity."""
    values, pids = drawn(np.random.default_rng(0), 200, of_query=0)
    clustered, apart = (width(interval(values[0], who)) for who in (pids, np.arange(len(pids))))
    assert clustered > 1.7 * apart


def width(found: Interval) -> float:
    return found.high - found.low


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        values, pids = drawn(generator, 120)
        low, high = interval(values[0], pids, resamples=400)
        hits += low <= 0 <= high
    assert 0.91 < hits / 400 < 0.98


@pytest.mark.parametrize(("of_run", "at_least"), [(0.0, 0.94), (0.02, 0.9)])
def test_the_interval_of_two_recipes_covers_the_truth(of_run, at_least):
    """Three runs a side, with and without a difference between the runs of one recipe, and with what an identity has of
    its own in each run. By the runs' mean alone, as if each were the only one, far fewer would."""
    generator = np.random.default_rng(1)
    hits = alone = 0
    for _ in range(200):
        values, pids = drawn(generator, 150, 6, of_run=of_run, of_both=0.1)
        low, high = difference(values[:3], values[3:], pids, resamples=400).interval
        hits += low <= 0 <= high
        low, high = difference(values[:3].mean(axis=0), values[3:].mean(axis=0), pids, resamples=400).interval
        alone += low <= 0 <= high
    assert hits / 200 > at_least
    if of_run:
        assert alone < 0.8 * hits


def test_a_paired_interval_is_narrower_where_results_correlate():
    values, pids = drawn(np.random.default_rng(2), 300, 2, of_query=0.05)
    paired = width(difference(*values, pids).interval)
    apart = np.hypot(width(interval(values[0], pids)), width(interval(values[1], pids, seed=1)))
    assert paired < 0.3 * apart


def test_paired_runs_are_narrower_where_their_differences_are_shared():
    generator = np.random.default_rng(3)
    values, pids = drawn(generator, 100, 3, of_run=0.2)
    others = values + generator.normal(0, 0.05, values.shape)
    paired, apart = (width(difference(values, others, pids, paired_runs=each).interval) for each in (True, False))
    assert paired < 0.2 * apart


def test_a_seed_gives_the_same_interval_and_another_seed_nearly_the_same():
    values, pids = drawn(np.random.default_rng(4), 300)
    first, again, other = (interval(values[0], pids, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert other == pytest.approx(first, abs=0.05 * width(first))


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    values, pids = drawn(np.random.default_rng(6), 9)
    at_once = interval(values[0], pids, resamples=50)
    monkeypatch.setattr("qafm.retrieval.bootstrap._DRAWN", 20)
    assert interval(values[0], pids, resamples=50) == pytest.approx(at_once)


def test_ten_thousand_resamples_of_800_identities_take_well_under_a_second():
    values, pids = drawn(np.random.default_rng(5), 800, 2)
    begun = time.perf_counter()
    difference(*values, pids, resamples=10_000)
    assert time.perf_counter() - begun < 1, "0.07 s on a quiet machine"


def test_results_of_other_queries_are_refused():
    pids = np.array([1, 1, 2])
    values = np.array([0.1, np.nan, 0.3])
    with pytest.raises(InvalidDescriptors, match="not of the same queries: 2 of 3, first the one in row 1"):
        difference(values, np.array([0.1, 0.2, np.nan]), pids)
    with pytest.raises(InvalidDescriptors, match="not of the same queries"):
        interval(np.array([values, [0.1, 0.2, 0.3]]), pids)
    with pytest.raises(InvalidDescriptors, match="none of the 3 queries has a value"):
        interval(np.full(3, np.nan), pids)
    with pytest.raises(ValueError, match="values are of 3 queries, others of 2; expected the same queries"):
        difference(values, values[:2], pids)
    with pytest.raises(ValueError, match=r"values are \[1, 3\], pids \[2\]; expected \[S,N\] and \[N\]"):
        interval(values, pids[:2])
    with pytest.raises(ValueError, match="2 runs cannot be paired with 1; expected as many"):
        difference(np.stack([values, values]), values, pids, paired_runs=True)
