from __future__ import annotations

import asyncio

import numpy as np
import pytest
from rich.console import Console

from client import ReidClient
from client.commands import tables
from client.evaluation.ablation import ablate, correlation, require_served_inputs
from client.testing import MockTransport
from qafm.contract import DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.errors import InvalidSettings
from qafm.retrieval.bootstrap import difference
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.weighting.constant import Constant
from qafm.weighting.retrieval import Retrieval


def test_correlation_agrees_with_its_definition():
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    dx, dy = x - x.mean(), y - y.mean()
    assert correlation(x, y) == pytest.approx((dx * dy).sum() / np.sqrt((dx**2).sum() * (dy**2).sum()))
    assert correlation(np.array([1, 2, 3]), np.array([6, 4, 2])) == pytest.approx(-1)
    assert correlation(x, np.ones(20)) is None


def described(generator, centres, pids, camid) -> Descriptors:
    """Of the branches the first tells people apart, and the other hardly."""
    count = len(pids)
    visual, semantic = (
        (own[pids] + noise * generator.standard_normal((count, VECTOR_SIZE))).astype(np.float32)
        for own, noise in zip(centres, (2, 12), strict=True)
    )
    mixed = (visual + semantic)[:, :DESCRIPTOR_SIZE]
    descriptors = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    alpha = generator.random(count, dtype=np.float32)
    scatter = generator.uniform(0, 1, (count, 34)).astype(np.float32)
    known = {"alpha": alpha, "identifiability": 1 - alpha, "scatter": scatter, "visual": visual, "semantic": semantic}
    return Descriptors(descriptors, pids, np.full(count, camid), **known)


def test_each_row_has_its_difference_to_the_served_one():
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((2, 12, VECTOR_SIZE))
    query, gallery = (described(generator, centres, np.repeat(np.arange(12), 3), camid) for camid in (1, 2))
    served = evaluate(query, gallery)

    async def swept():
        async with ReidClient(transport=MockTransport()) as client:
            return await ablate(client, None, query, gallery, served, concurrency=2)

    ablation = asyncio.run(swept())
    first, *others = ablation.rows
    assert first.name == "QAFM" and first.difference == {} == first.summary()["difference"]
    assert len(others) == 13
    for row in others:
        summary = row.summary()["difference"]
        assert summary["mAP"]["value"] == pytest.approx(row.metrics.mAP - served.mAP)
        assert summary["rank1"]["value"] == pytest.approx(row.metrics.rank1 - served.rank1)
        paired = difference(row.metrics.average_precision, served.average_precision, query.pids)
        assert summary["mAP"]["interval"] == list(paired.interval)
    apn, apan = others[0].difference["mAP"], others[1].difference["mAP"]
    assert apn.interval.low > 0 > apan.interval.high, "clearly better alone, clearly worse"
    console = Console(width=120)
    with console.capture() as printed:
        console.print(*tables.ablation(ablation))
    (line,) = (line for line in printed.get().splitlines() if "cosine of v_s" in line)
    assert f"-{-100 * apan.value:.2f} (" in line and f" to {100 * apan.interval.high:.2f})" in line


def rule(reads: int) -> Retrieval:
    """One that reads a single number."""
    return Retrieval(np.zeros(40), np.ones(40), 3 * np.eye(40)[reads], np.zeros(()))


def test_each_further_weighting_has_a_row_from_what_was_served():
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((2, 6, VECTOR_SIZE))
    query, gallery = (described(generator, centres, np.repeat(np.arange(6), 3), camid) for camid in (1, 2))
    asked: list[np.ndarray] = []

    class Listening(ReidClient):
        async def fuse(self, visual, semantic, alpha, **options):
            asked.append(alpha)
            return await super().fuse(visual, semantic, alpha, **options)

    async def swept(weightings):
        async with Listening(transport=MockTransport()) as client:
            return await ablate(client, None, query, gallery, evaluate(query, gallery), 2, weightings)

    *_, half, reads_noise = asyncio.run(swept({"half": Constant(np.array(0.5)), "noise": rule(7)})).rows
    assert (half.name, reads_noise.name) == ("weighting half", "weighting noise")
    assert asked[-4].tolist() == [0.5] * 18
    expected = 1 / (1 + np.exp(-3 * np.log(query.scatter[:, 7].astype(np.float64) + 1e-3)))
    assert asked[-2] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InvalidSettings, match="the weighting long reads the length"):
        asyncio.run(swept({"long": rule(35)}))


def test_a_weighting_that_needs_scatter_is_refused_where_there_is_none():
    require_served_inputs({"half": Constant(np.array(0.5))}, scatter=False)
    require_served_inputs({"rule": rule(3)}, scatter=True)
    with pytest.raises(InvalidSettings, match="reads SCATTER, which this server does not give"):
        require_served_inputs({"rule": rule(3)}, scatter=False)
