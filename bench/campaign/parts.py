"""The parts of a campaign: each attacks something, and says what it came to and what was lost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.campaign.cancelled import cancel
from bench.campaign.decoded import decode_broken
from bench.campaign.faults import disturb, served
from bench.campaign.hostile import load
from bench.campaign.proxy import evaluate_through
from bench.campaign.served import send_broken
from synthetic.dataset import make_dataset
from synthetic.recipe import Recipe

DECODED, SERVED, CANCELLED = 100_000, 10_000, 10_000
KILLS, STOPS, CROPS = 50, 20, 500
EVALUATIONS = 5
ROUNDS, MINUTES = 6, 5.0
"""Of load: so many minutes without and with hostile requests each."""
RECOVERED_S = 15.0
SLOWER = 3.0
"""How many times the 99th percentile of a load alone it may be beside hostile requests."""
GROWN_BYTES, GROWN_DESCRIPTORS = 50e6, 20


@dataclass(frozen=True)
class Campaign:
    """What is attacked, how much (`share` of everything), and where pictures that do harm are kept."""

    repository: Path
    share: float
    seed: int
    findings: Path
    console: Console

    def count(self, whole: int) -> int:
        return max(1, round(whole * self.share))


@dataclass(frozen=True)
class Outcome:
    """What a part came to, in words and as numbers, and what was lost or broke a promise."""

    summary: str
    lost: list[str]
    numbers: dict[str, object]


def decoded(campaign: Campaign) -> Outcome:
    """Broken pictures through the process that decodes."""
    costs = decode_broken(campaign.count(DECODED), campaign.seed, campaign.findings, campaign.console)
    summary = (
        f"{costs.pictures:,} broken pictures: {costs.described:,} described, {costs.refused:,} refused, "
        f"{costs.stopped} of them stopped for their time; the longest {costs.longest_s:.2f} s on a processor, the "
        f"highest memory {costs.highest_memory / 1e6:.0f} MB; {costs.neighbours:,} good pictures between them as ever"
    )
    grown = costs.resident[-1] - costs.resident[0]
    lost = [*costs.findings, *([f"memory grew by {grown / 1e6:.0f} MB"] if grown > GROWN_BYTES else [])]
    return Outcome(summary, lost, asdict(costs))


def served_broken(campaign: Campaign) -> Outcome:
    """Broken pictures through a server, with good ones beside them."""
    answers = _with_server(
        campaign,
        lambda server, url: send_broken(
            url, campaign.count(SERVED), campaign.seed, campaign.findings, campaign.console
        ),
    )
    summary = (
        f"{answers.broken:,} broken pictures served: {answers.described:,} described, {answers.refused:,} refused; "
        f"{answers.good:,} good ones beside them; no pair took over {answers.slowest_s:.1f} s"
    )
    return Outcome(summary, answers.findings, asdict(answers))


def faults(campaign: Campaign) -> Outcome:
    """Processes of a server killed and stopped while it is evaluated."""
    with tempfile.TemporaryDirectory() as folder:
        data = _crops(campaign, Path(folder))
        found = _with_server(
            campaign,
            lambda server, url: disturb(
                *(server, url, data, Path(folder)),
                kills=campaign.count(KILLS),
                stops=campaign.count(STOPS),
                seed=campaign.seed,
                console=campaign.console,
            ),
        )
    away = np.array(found.away_s)
    summary = (
        f"{sum(found.done.values())} faults, {found.reports} evaluations ended meanwhile; "
        f"answered again after {np.median(away):.1f} s in the median, {away.max():.1f} s at most"
    )
    late = [f"answered again only after {each:.1f} s" for each in away if each > RECOVERED_S]
    return Outcome(summary, [*found.lost, *found.differences, *late], vars(found) | {"done": dict(found.done)})


def network(campaign: Campaign) -> Outcome:
    """An evaluation through a network that stalls and breaks off."""
    with tempfile.TemporaryDirectory() as folder:
        data = _crops(campaign, Path(folder))
        found = _with_server(
            campaign,
            lambda server, url: evaluate_through(url, data, Path(folder), campaign.count(EVALUATIONS), campaign.seed),
        )
    summary = (
        f"{found.reports} evaluations through a network that broke {found.done['broken off']} of "
        f"{found.done['connections']} connections off and stalled {found.done['stalled']} times"
    )
    return Outcome(summary, [*found.lost, *found.differences], vars(found) | {"done": dict(found.done)})


def cancelled(campaign: Campaign) -> Outcome:
    """Requests that are given up, and a good one after them."""
    found = _with_server(
        campaign,
        lambda server, url: cancel(url, campaign.count(CANCELLED), campaign.seed, campaign.console),
    )
    summary = (
        f"{found.requests:,} requests cancelled or late, {found.answered:,} of them answered before, "
        f"{found.unavailable:,} found no server; a good one after them took {found.good_s:.1f} s"
    )
    late = [f"a good request after them took {found.good_s:.1f} s"] if found.good_s > RECOVERED_S else []
    return Outcome(summary, late, asdict(found))


def hostile_load(campaign: Campaign) -> Outcome:
    """A load with one request in ten hostile, in turns with the same load alone."""
    rounds = max(1, round(ROUNDS * min(1.0, 4 * campaign.share)))
    minutes = MINUTES * ROUNDS * campaign.share / rounds
    phases, states = _with_server(
        campaign,
        lambda server, url: load(url, server, minutes, rounds, campaign.seed, campaign.console),
    )
    slower = [beside.p99_s / alone.p99_s for alone, beside in phases]
    good = sum(phase.good for pair in phases for phase in pair)
    hostile = sum((beside.hostile for _, beside in phases), start=phases[0][0].hostile)
    summary = (
        f"{good:,} good requests, {hostile.total():,} hostile; the 99th percentile beside those "
        f"{np.median(slower):.2f} times ({min(slower):.2f} to {max(slower):.2f}) what it is alone; "
        f"memory {states[1].memory / 1e6:.0f} MB after the first round, {states[-1].memory / 1e6:.0f} after the last"
    )
    lost = [words for pair in phases for phase in pair for words in phase.failed]
    lost += [f"{phase.wrong} good pictures described otherwise" for pair in phases for phase in pair if phase.wrong]
    if np.median(slower) > SLOWER:
        lost.append(f"the 99th percentile is {np.median(slower):.2f} times that of the load alone")
    for name, most in (("memory", GROWN_BYTES), ("shared_memory", GROWN_BYTES), ("descriptors", GROWN_DESCRIPTORS)):
        grown = getattr(states[-1], name) - getattr(states[1], name)
        if grown > most:
            lost.append(f"{name} grew by {grown:,}")
    numbers = {
        "slower": slower,
        "p99_s": [[alone.p99_s, beside.p99_s] for alone, beside in phases],
        "good": good,
        "hostile": dict(hostile),
        "states": [asdict(state) for state in states],
    }
    return Outcome(summary, lost, numbers)


PARTS: dict[str, Callable[[Campaign], Outcome]] = {
    "decoded": decoded,
    "served": served_broken,
    "faults": faults,
    "network": network,
    "cancelled": cancelled,
    "load": hostile_load,
}


def _crops(campaign: Campaign, folder: Path) -> Path:
    """A dataset to evaluate."""
    people = max(4, campaign.count(CROPS) // 5)
    data = folder / "data"
    make_dataset(Recipe(train_identities=2, test_identities=people, images_per_identity=5, distractors=0, junk=0), data)
    return data


def _with_server(campaign: Campaign, attack: Callable[[int, str], object]) -> object:
    """What an attack on a server comes to: it is given the process id of the command, and the gRPC endpoint."""
    with tempfile.NamedTemporaryFile() as log, served(campaign.repository, Path(log.name)) as (server, url):
        return asyncio.run(attack(server, url))
