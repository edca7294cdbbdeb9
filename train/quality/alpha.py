"""How α is fitted for retrieval (`joint.weighting: retrieval`), on held-out people, half of their pictures made worse.

First one constant for every picture: of those that cannot be told from the best, the one nearest to `PRIOR`. Then, in
steps that may read more and more of a picture, a logistic rule around that constant; a step stays only if people who
did not teach it are found better by it, beyond chance. So at worst α is a constant, and as good as any beyond chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qafm.contract import PERTURBATION_COUNT
from qafm.errors import InvalidDescriptors
from qafm.perturbations import PERTURBATIONS
from qafm.retrieval.bootstrap import Difference, difference
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.utility import NUMBERS, Q
from qafm.weighting import Weighting
from qafm.weighting.constant import Constant
from qafm.weighting.retrieval import Retrieval
from train.quality.folds import people_in_turns
from train.quality.utility import Lessons

CONSTANTS = np.linspace(0.05, 1, 20)
"""What a constant is chosen from."""
PRIOR = 0.75
"""What a constant is where the lessons say nothing: v_a is the stronger branch."""
_INSIDE = 0.02
"""A rule varies around a constant that is so far from 0 and 1 at least."""
_TEMPERATURE = 0.05
"""Of cosines, in the loss."""
_RIDGE = 0.01
_ITERATIONS = 30
_RESAMPLES = 1000
"""Of a choice; what a step gained is said with more."""


def _families() -> np.ndarray:
    """[40,F], the mean of the numbers of each family of perturbations."""
    names = list(dict.fromkeys(perturbation.family for perturbation in PERTURBATIONS))
    chosen = np.zeros((NUMBERS, len(names)))
    for perturbation in PERTURBATIONS:
        chosen[perturbation.index - 1, names.index(perturbation.family)] = 1
    means: np.ndarray = chosen / chosen.sum(axis=0)
    return means


STEPS: dict[str, np.ndarray] = {
    "Q": np.eye(NUMBERS)[:, [Q]],
    "families": _families(),
    "distances": np.eye(NUMBERS)[:, :PERTURBATION_COUNT],
}
"""What each step reads, as columns over the 40 numbers."""


@dataclass(frozen=True)
class Step:
    """What a step was worth: mAP gained over what there was before, on people who did not teach it."""

    reads: str
    gain: Difference
    kept: bool


@dataclass(frozen=True)
class Fitted:
    """α as it was fitted and the constant that it began with; the mAP of `CONSTANTS`, float64 [20]; what became of each
    step."""

    weighting: Weighting
    constant: Constant
    by_constant: np.ndarray
    steps: tuple[Step, ...]


def fit(lessons: Lessons) -> Fitted | None:
    """The rule that ranks best; None where no picture has another one of its person and another camera."""
    if (each := _by_constants(lessons)) is None:
        return None
    pids = _pids(lessons)
    level = _level(each, pids)
    weighting: Weighting = Constant(np.array(level))
    steps: list[Step] = []
    turns = _turns(lessons, each)
    before = np.full(each.shape[1], np.nan)
    for turn in turns:
        before[turn.asked] = _average_precisions(lessons, np.full(len(lessons.pids), turn.level))[turn.asked]
    if np.isfinite(before).any():
        for reads, columns in STEPS.items():
            after = np.full(each.shape[1], np.nan)
            for turn in turns:
                rule = _fit_rule(lessons.of(turn.taught), columns, turn.level)
                after[turn.asked] = _average_precisions(lessons, rule.alphas(lessons.numbers))[turn.asked]
            gain = difference(after, before, pids)
            kept = gain.interval.low > 0
            steps.append(Step(reads, gain, kept))
            if kept:
                before, weighting = after, _fit_rule(lessons, columns, level)
    return Fitted(weighting, Constant(np.array(level)), np.nanmean(each, axis=1), tuple(steps))


@dataclass(frozen=True, eq=False)
class _Turn:
    """Some people are asked, bool [Q] of the queries, the others teach, bool [N] of the pictures; `level` is the
    constant that those choose."""

    asked: np.ndarray
    taught: np.ndarray
    level: float


def _turns(lessons: Lessons, each: np.ndarray) -> list[_Turn]:
    """Those in which somebody can teach. each: as `_by_constants` returns it."""
    pids = _pids(lessons)
    turns = []
    for people in people_in_turns(lessons.pids):
        asked = np.isin(pids, people)
        if np.isfinite(each[:, ~asked]).any():
            level = _level(each[:, ~asked], pids[~asked])
            turns.append(_Turn(asked, ~np.isin(lessons.pids, people), level))
    return turns


def _level(each: np.ndarray, pids: np.ndarray) -> float:
    """The constant nearest to `PRIOR` of those whose mAP is not below that of the best one beyond chance.

    The best one itself, of few people, is any, and so is the middle of those: 16 crops of `study` chose middles that
    lose 2.5 mAP in the mean and 17.8 at worst, where 0.75 for everybody loses 1.1 and 1.6.
    each: by constant the average precisions of queries, float64 [20,Q]. pids: int [Q].
    """
    best = each[np.nanmean(each, axis=1).argmax()]
    kept = CONSTANTS[[difference(found, best, pids, resamples=_RESAMPLES).interval.high >= 0 for found in each]]
    return float(kept[np.abs(kept - PRIOR).argmin()])


def alphas(weighting: Weighting, lessons: Lessons) -> np.ndarray:
    """α of each picture, float64 [N]."""
    if isinstance(weighting, Retrieval):
        return weighting.alphas(lessons.numbers)
    assert isinstance(weighting, Constant)
    return np.full(len(lessons.pids), float(weighting.value))


def _galleries(lessons: Lessons) -> list[np.ndarray]:
    """The rows of a few galleries. Each has every crop once, one half as they are and the other made worse."""
    crops = np.flatnonzero(~lessons.copies)
    groups = [np.flatnonzero(lessons.whole == crop) for crop in crops]
    return [
        np.array([group[place if (number + place) % 2 else 0] for number, group in enumerate(groups)])
        for place in range(1, min(len(group) for group in groups))
    ]


def _pids(lessons: Lessons) -> np.ndarray:
    """Of all queries: of each gallery's pictures, one gallery after another."""
    return np.concatenate([lessons.pids[rows] for rows in _galleries(lessons)])


def _average_precisions(lessons: Lessons, alpha: np.ndarray) -> np.ndarray:
    """Each picture of each gallery as a query to the rest of it, other cameras alone: float64 [Q], NaN without a match.

    Raises InvalidDescriptors where there is no match at all.
    """
    found = []
    descriptors = lessons.described(alpha)
    for rows in _galleries(lessons):
        side = Descriptors(
            descriptors[rows].astype(np.float32),
            lessons.pids[rows].astype(np.int64),
            lessons.camids[rows].astype(np.int64),
        )
        found.append(evaluate(side, side).average_precision)
    return np.concatenate(found)


def _by_constants(lessons: Lessons) -> np.ndarray | None:
    """By each constant, float64 [20,Q]; None where there is no match at all."""
    try:
        return np.stack([_average_precisions(lessons, np.full(len(lessons.pids), each)) for each in CONSTANTS])
    except InvalidDescriptors:
        return None


def _fit_rule(lessons: Lessons, columns: np.ndarray, level: float) -> Retrieval:
    """The logistic rule that reads `columns`, float [40,K], around an α of `level`.

    The level is that of mAP, which this loss, a softplus over true and false matches, would misjudge; the loss only
    decides how α varies.
    """
    level = min(max(level, _INSIDE), 1 - _INSIDE)
    centre, spread = lessons.numbers.mean(axis=0), lessons.numbers.std(axis=0) + 1e-6
    offset = np.log(level / (1 - level))
    inputs = torch.from_numpy((lessons.numbers - centre) / spread @ columns).float()
    ends = torch.from_numpy(lessons.ends).float()
    galleries = [_Gallery.of(lessons, rows) for rows in _galleries(lessons)]
    weights = torch.zeros(columns.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        alpha = torch.sigmoid(offset + inputs @ weights)[:, None]
        descriptors = F.normalize(alpha * ends[:, 1] + (1 - alpha) * ends[:, 0], dim=1)
        each = torch.cat([gallery.losses(descriptors) for gallery in galleries])
        total = each.mean() + _RIDGE * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return Retrieval(centre, spread, columns @ weights.detach().numpy().astype(np.float64), np.array(offset))


@dataclass(frozen=True, eq=False)
class _Gallery:
    """Rows [C] of the lessons, and for each pair [C,C] whether it is a true match, and a false one."""

    rows: Tensor
    true: Tensor
    false: Tensor

    @classmethod
    def of(cls, lessons: Lessons, rows: np.ndarray) -> _Gallery:
        pids, camids = lessons.pids[rows], lessons.camids[rows]
        same = pids[:, None] == pids
        return cls(*map(torch.from_numpy, (rows, same & (camids[:, None] != camids), ~same)))

    def losses(self, descriptors: Tensor) -> Tensor:
        """One for each true match [T]: a softplus of how far all false ones together are ahead of it."""
        cosines = descriptors[self.rows] @ descriptors[self.rows].T / _TEMPERATURE
        ahead = cosines.masked_fill(~self.false, -torch.inf).logsumexp(dim=1, keepdim=True) - cosines
        return F.softplus(ahead[self.true])
