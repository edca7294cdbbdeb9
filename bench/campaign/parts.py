"""The parts of a campaign: each attacks something, and says what it came to and what was lost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from bench.campaign.cancelled import cancel
from bench.campaign.clock import evaluate_meanwhile, has_compiler
from bench.campaign.command import Served, served
from bench.campaign.decoded import decode_broken
from bench.campaign.faults import disturb
from bench.campaign.hostile import State, load
from bench.campaign.malformed import send_malformed
from bench.campaign.proxy import evaluate_through
from bench.campaign.scarce import (
    Scarce,
    client_without_disk,
    own_mounts_allowed,
    without_descriptors,
    without_disk,
    without_shared_memory,
)
from bench.campaign.served import send_broken
from synthetic.dataset import make_dataset
from synthetic.recipe import Recipe

Found = TypeVar("Found")

DECODED, SERVED, CANCELLED, MALFORMED = 100_000, 10_000, 10_000, 10_000
KILLS, STOPS, CROPS = 50, 20, 500
EVALUATIONS = 2
SCARCE_S = 30.0
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
        lambda server: send_broken(
            server.grpc_url, campaign.count(SERVED), campaign.seed, campaign.findings, campaign.console
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
            lambda server: disturb(
                *(server, data, Path(folder)),
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
            lambda server: evaluate_through(
                server.grpc_url, data, Path(folder), campaign.count(EVALUATIONS), campaign.seed
            ),
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
        lambda server: cancel(server.grpc_url, campaign.count(CANCELLED), campaign.seed, campaign.console),
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
        lambda server: load(server, minutes, rounds, campaign.seed, campaign.console),
    )
    slower = [beside.p99_s / alone.p99_s for alone, beside in phases]
    good = sum(phase.good for pair in phases for phase in pair)
    hostile = sum((beside.hostile for _, beside in phases), start=phases[0][0].hostile)
    summary = (
        f"{good:,} good requests, {hostile.total():,} hostile; the 99th percentile beside those "
        f"{np.median(slower):.2f} times ({min(slower):.2f} to {max(slower):.2f}) what it is alone; "
        f"memory after each round {', '.join(f'{state.memory / 1e6:.0f}' for state in states[1:])} MB; "
        f"{(states[-1].log - states[0].log) / 1e6:.1f} MB of log"
    )
    lost = [words for pair in phases for phase in pair for words in phase.failed]
    lost += [f"{phase.wrong} good pictures described otherwise" for pair in phases for phase in pair if phase.wrong]
    if np.median(slower) > SLOWER:
        lost.append(f"the 99th percentile is {np.median(slower):.2f} times that of the load alone")
    lost += growth(states[1:])
    numbers = {
        "slower": slower,
        "p99_s": [[alone.p99_s, beside.p99_s] for alone, beside in phases],
        "good": good,
        "hostile": dict(hostile),
        "states": [asdict(state) for state in states],
    }
    return Outcome(summary, lost, numbers)


def growth(states: Sequence[State]) -> list[str]:
    """What grew, in words, over the states after each round under load: the highest of the second half of the rounds
    over that of the first half. A heap breathes: two single states tell nothing."""
    first, second = states[: (len(states) + 1) // 2], states[len(states) // 2 :]
    found = []
    for name in ("memory", "shared_memory", "log", "descriptors"):
        grown = max(getattr(state, name) for state in second) - max(getattr(state, name) for state in first)
        if grown > (GROWN_DESCRIPTORS if name == "descriptors" else GROWN_BYTES):
            found.append(f"{name} grew by {grown:,}")
    return found


def malformed(campaign: Campaign) -> Outcome:
    """Malformed HTTP, and a good picture beside it."""
    found = _with_server(
        campaign,
        lambda server: send_malformed(server, campaign.count(MALFORMED), campaign.seed, campaign.console),
    )
    summary = (
        f"{found.requests:,} malformed requests over HTTP and {found.good:,} good ones between them, and the server "
        f"{'ended' if found.ended else 'lived on'}; answered {found.deep_s:.1f} s after JSON nested a million deep"
    )
    ended = ["the server ended"] if found.ended else []
    late = [f"answered again only after {found.deep_s:.1f} s"] if found.deep_s > RECOVERED_S else []
    return Outcome(summary, [*found.lost, *ended, *late], vars(found) | {"said": dict(found.said)})


def scarce(campaign: Campaign) -> Outcome:
    """Shared memory, disk and descriptors that run out, and come back."""
    seconds = max(4.0, SCARCE_S * campaign.share)
    kinds: dict[str, Callable[[Path, Path, float], Coroutine[Any, Any, Scarce]]] = {"descriptors": without_descriptors}
    if mounts := own_mounts_allowed():
        kinds |= {"shared memory": without_shared_memory, "disk": without_disk}
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: asyncio.run(attack(campaign.repository, Path(folder), seconds)) for name, attack in kinds.items()
        }
        evaluation = []
        if mounts:
            data = _crops(campaign, Path(folder))
            evaluation = _with_server(campaign, lambda server: client_without_disk(server.grpc_url, data, Path(folder)))
    summary = "; ".join(
        f"without {name} {each.answered} good requests answered, {each.failed} not, one after it in {each.back_s:.1f} s"
        for name, each in found.items()
    )
    summary += "" if mounts else "; mounts are not allowed here: nothing else was tried"
    lost = [f"without {name}: {words}" for name, each in found.items() for words in each.lost]
    lost += [f"without {name}: {each.wrong} described otherwise" for name, each in found.items() if each.wrong]
    lost += [
        f"without {name}: answered again only after {each.back_s:.1f} s"
        for name, each in found.items()
        if each.back_s > RECOVERED_S
    ]
    numbers: dict[str, object] = {name: asdict(each) for name, each in found.items()}
    return Outcome(summary, [*lost, *(f"a client without disk: {words}" for words in evaluation)], numbers)


def clock(campaign: Campaign) -> Outcome:
    """Clocks that jump during an evaluation."""
    if not has_compiler():
        return Outcome("not tried: there is no C compiler here (cc)", [], {})
    with tempfile.TemporaryDirectory() as folder:
        data = _crops(campaign, Path(folder))
        attack = evaluate_meanwhile(campaign.repository, data, Path(folder), campaign.count(EVALUATIONS), campaign.seed)
        found = asyncio.run(attack)
    return Outcome(f"{found.jumps} jumps of the clock during evaluations", found.differences, asdict(found))


PARTS: dict[str, Callable[[Campaign], Outcome]] = {
    "decoded": decoded,
    "served": served_broken,
    "faults": faults,
    "network": network,
    "cancelled": cancelled,
    "malformed": malformed,
    "scarce": scarce,
    "clock": clock,
    "load": hostile_load,
}


def _crops(campaign: Campaign, folder: Path) -> Path:
    """A dataset to evaluate."""
    people = max(4, campaign.count(CROPS) // 5)
    data = folder / "data"
    make_dataset(Recipe(train_identities=2, test_identities=people, images_per_identity=5, distractors=0, junk=0), data)
    return data


def _with_server(campaign: Campaign, attack: Callable[[Served], Coroutine[Any, Any, Found]]) -> Found:
    """What an attack on a server comes to."""
    with tempfile.NamedTemporaryFile() as log, served(campaign.repository, Path(log.name)) as server:
        return asyncio.run(attack(server))
