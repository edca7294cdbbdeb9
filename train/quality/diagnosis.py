"""How the rule is taught that tells what is wrong with a picture: from the same lessons as the utility."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qafm.contract import PERTURBATION_COUNT
from qafm.diagnosis import DEFECT_OF, DEFECTS, Defect, Diagnosis
from train.quality.folds import people_in_turns
from train.quality.utility import Lessons

_NOTICEABLE = 0.4
"""Of a strength in [0,1]: what is less wrong counts as nothing."""
_RIDGE = 0.003
"""On the offsets too: of a defect that nothing was made worse by they would have no end."""
_ITERATIONS = 200
_NOTHING = ""


def teach_diagnosis(lessons: Lessons) -> Diagnosis:
    """Fit the rule, and count how often it is right on people who did not teach it."""
    wrong = _defects(lessons)
    named = np.full(len(wrong), None)
    turns = people_in_turns(lessons.pids)
    for people in turns if len(turns) > 1 else ():
        out = np.isin(lessons.pids, people)
        named[out] = _fit(lessons.of(~out)).named(lessons.numbers[out, :PERTURBATION_COUNT])
    judged = {}
    for name, defect in _fit(lessons).defects.items():
        said = named == name
        people = len(np.unique(lessons.pids[said]))
        judged[name] = replace(defect, said=int(said.sum()), right=int((wrong[said] == name).sum()), people=people)
    return Diagnosis(judged)


def _defects(lessons: Lessons) -> np.ndarray:
    """The defect of each picture, however slight, unicode [N]."""
    return np.array([DEFECT_OF.get(kind, _NOTHING) for kind in lessons.kinds.tolist()])


def _fit(lessons: Lessons) -> Diagnosis:
    """Multinomial logistic regression on the logarithms of the 34 distances."""
    logs = lessons.numbers[:, :PERTURBATION_COUNT]
    centre, spread = logs.mean(axis=0), logs.std(axis=0) + 1e-6
    inputs = torch.from_numpy((logs - centre) / spread)
    names = [_NOTHING, *DEFECTS]
    noticed = np.where(lessons.strengths >= _NOTICEABLE, _defects(lessons), _NOTHING)
    labels = torch.tensor([names.index(name) for name in noticed.tolist()])
    weights = torch.zeros(PERTURBATION_COUNT, len(DEFECTS), dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(len(DEFECTS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, offsets], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = F.pad(inputs @ weights + offsets, (1, 0))
        total = F.cross_entropy(logits, labels) + _RIDGE * (weights.square().sum() + offsets.square().sum())
        total.backward()
        return total

    optimizer.step(loss)
    slopes = weights.detach().numpy() / spread[:, np.newaxis]
    levels = offsets.detach().numpy() - centre @ slopes
    return Diagnosis({name: Defect(float(levels[place]), slopes[:, place]) for place, name in enumerate(DEFECTS)})
