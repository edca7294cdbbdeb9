"""`python -m bench.quality.fast RUN`: how near one look comes to the 35 views, on the test people of the run's dataset.

Further networks are taught by fewer of the pictures that taught the run's own, to see what more would bring, and
without one kind of degradation, to see what is said of what was never shown. What the views say is described once and
kept in --out, as by `python -m bench.quality`; the figures go into a CSV file, and as tables onto the screen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from torch.utils.data import DataLoader

from bench.quality.described import Described
from bench.quality.figures import Figure, correlation, keep, resampled, tables
from bench.quality.judge import crops_of_test_people, side_at
from bench.quality.options import Data, Out, Results, Run
from bench.quality.pictures import as_they_are
from qafm.errors import InvalidSettings, QafmError
from qafm.quality import NEARLY_ZERO, Quality
from qafm.retrieval.bootstrap import difference
from qafm.retrieval.discard import area_difference
from qafm.retrieval.metrics import evaluate
from qafm.utility import LENGTH
from train.checkpoint import load_checkpoint, load_networks, load_run_settings
from train.data import WholeCrops, collate, load_training_data, readable
from train.launch import launch
from train.networks import Pixels, QualityNetwork
from train.networks.quality import ALPHA, UTILITY, Q
from train.quality import teacher
from train.quality.student import said_of, train_network
from train.quality.teaching import load_fitted_weighting, load_utility
from train.quality.utility import Lessons

WHOLE = "test set"
AGAINST = "35 views against one look"
MIDDLE, STEEPNESS = 0.85, (0.5, 1.0, 2.0)
"""Of α that a run might have: its logit at the mean of log Q, where it is 0.7, and how much it rises for each standard
deviation."""


def main(
    run: Run,
    data: Data,
    out: Out,
    results: Results,
    passes: Annotated[list[int] | None, typer.Option(help="Also taught by so many pictures only.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Also taught without this kind of degradation.")] = None,
) -> None:
    """Judge what one look says of a run's test people."""
    try:
        judged = list(Judge(run, data, out).figures(passes or (), without or ()))
        keep(judged, results)
        print(tables(judged))
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


class Judge:
    """A run's one look and its 35 views, both as numbers float64 [N,37] of the whole test set: queries, then gallery.
    See `train.networks.quality`."""

    def __init__(self, run: Path, data: Path, out: Path) -> None:
        self.run, self.data, self.out, self.console = run, data, out, Console()
        self.settings = load_run_settings(run)
        crops, recorded = crops_of_test_people(data)
        self.crops = [crop for side in crops.values() for crop in side]
        self.kinds = np.array([recorded[crop].kind for crop in self.crops])
        described = Described(run, out, self.console)
        self.sides = [described(side, as_they_are(crops[side])) for side in crops]
        networks, utility = load_networks(run, quality=True), load_utility(run)
        if networks.quality is None or utility is None:
            raise InvalidSettings(
                f"{run}: expected a run with a quality network, got one without; teach it: --stage quality"
            )
        self.rules = load_fitted_weighting(run) or networks.weighting.served(), utility
        self.network = networks.quality
        self.exact = np.concatenate([said_of(qualities_of(side), *self.rules) for side in self.sides])

    def figures(self, passes: Sequence[int], without: Sequence[str]) -> Iterator[Figure]:
        fast = self.said_by(self.network)
        yield from self.told(fast, f"{self.settings.quality.pictures} pictures", every_kind=True)
        yield from self.used(fast)
        for count in passes:
            yield from self.told(self.said_by(self.taught(count)), f"{count} pictures")
        for kind in without:
            yield from self.told(self.said_by(self.taught(None, kind)), f"without {kind}", every_kind=True)

    def told(self, fast: np.ndarray, by: str, *, every_kind: bool = False) -> Iterator[Figure]:
        """The rank correlations with what the views say, over the whole test set and over each kind of picture."""
        pids = np.concatenate([side.pids for side in self.sides])
        groups = {WHOLE: np.arange(len(pids))}
        if every_kind:
            groups |= {kind: np.flatnonzero(self.kinds == kind) for kind in np.unique(self.kinds).tolist()}
        for where, rows in groups.items():
            for of, place in (("Q", Q), ("utility", UTILITY)):
                one, other = self.exact[rows, place], fast[rows, place]
                told = resampled(pids[rows], lambda some, one=one, other=other: correlation(one[some], other[some]))
                yield Figure(f"rank correlation with 35 views, by {by}", of, where, *told)
        each = [correlation(self.exact[:, place], fast[:, place]) for place in range(Q)]
        yield Figure(f"rank correlation with 35 views, by {by}", "scatter, mean", WHOLE, float(np.mean(each)))

    def used(self, fast: np.ndarray) -> Iterator[Figure]:
        """What one look costs where quality is used: with the run's α, and with α as functions of Q that vary more."""
        queries, pids = len(self.sides[0].pids), self.sides[0].pids
        alpha, fast_alpha = (1 / (1 + np.exp(-numbers[:, ALPHA])) for numbers in (self.exact, fast))
        yield from self.weighed(alpha, fast_alpha, AGAINST)
        utilities = [numbers[:queries, UTILITY] for numbers in (fast, self.exact)]
        area = area_difference(self.precision(alpha), *utilities, pids)
        yield Figure(AGAINST, "Δ area of discard, utility", WHOLE, area.value, *area.interval)
        middle, deviation = self.exact[:, Q].mean(), self.exact[:, Q].std()
        for steepness in STEEPNESS:
            logits = (MIDDLE + steepness * (numbers[:, Q] - middle) / deviation for numbers in (self.exact, fast))
            by_q, fast_by_q = (1 / (1 + np.exp(-each)) for each in logits)
            by = f"{AGAINST}, α by Q, {steepness:g} a deviation"
            yield Figure(by, "α, deviation", WHOLE, float(by_q.std()))
            yield from self.weighed(by_q, fast_by_q, by)

    def weighed(self, alpha: np.ndarray, fast_alpha: np.ndarray, by: str) -> Iterator[Figure]:
        """How far the α of one look are from those of the 35 views, both float [N], and what that does to mAP."""
        yield Figure(by, "α, mean |Δ|", WHOLE, float(np.abs(alpha - fast_alpha).mean()))
        change = difference(self.precision(fast_alpha), self.precision(alpha), self.sides[0].pids)
        yield Figure(by, "ΔmAP", WHOLE, change.value, *change.interval)

    def precision(self, alpha: np.ndarray) -> np.ndarray:
        """The average precision of each query, by an α for each picture, float [N]."""
        split = np.split(alpha, [len(self.sides[0].pids)])
        query, gallery = (side_at(side, each) for side, each in zip(self.sides, split, strict=True))
        return evaluate(query, gallery).average_precision

    def said_by(self, network: QualityNetwork) -> np.ndarray:
        loader = DataLoader(WholeCrops(self.crops), batch_size=64, collate_fn=collate)
        pixels = Pixels()
        network.cpu().eval()  # one that was taught here may be on a GPU
        with torch.inference_mode():
            found = [network.numbers(pixels(seen)) for seen, _ in readable(loader)]
        return torch.cat(found).double().numpy()

    def taught(self, passes: int | None, without: str | None = None) -> QualityNetwork:
        """Another network, by the first so many of the run's pictures, or by those of the other kinds."""
        settings, fabric, crops = self.settings, launch(), load_training_data(self.data, self.settings.seed).crops
        pictures = teacher.draw_pictures(crops, settings.quality, settings.seed)
        answers = teacher.ask(
            load_networks(self.run).iqa, pictures, self.run, settings=settings, fabric=fabric, console=self.console
        )
        numbers = said_of(answers.qualities, *self.rules)
        taken = lesson_rows([picture.degradation.kind for picture in pictures], passes, without)
        folder = self.out / (f"without-{without}" if without else f"by-{passes}")
        folder.mkdir(exist_ok=True)
        torch.manual_seed(settings.seed)
        network = QualityNetwork(load_networks(self.run).iqa.trunk)
        chosen = [pictures[row] for row in taken]
        options = {"settings": settings, "fabric": fabric, "resume": True, "console": self.console}
        train_network(network, chosen, numbers[taken], folder, **options)
        load_checkpoint(folder, "quality").restore({"quality": network})
        return network


def lesson_rows(kinds: Sequence[str], passes: int | None, without: str | None) -> np.ndarray:
    """Which pictures another network is taught by, int [N]: the first so many of all, or those of the other kinds."""
    rows = np.arange(len(kinds))[:passes]
    return rows[np.array(kinds)[rows] != without]


def qualities_of(lessons: Lessons) -> list[Quality]:
    """What the views said of each picture, of which the lessons keep the logarithms."""
    plain = np.exp(lessons.numbers) - NEARLY_ZERO
    return [
        Quality(float(row[Q]), row[:Q].astype(np.float32), row[LENGTH] * direction)
        for row, direction in zip(plain, lessons.directions, strict=True)
    ]


if __name__ == "__main__":
    typer.run(main)
