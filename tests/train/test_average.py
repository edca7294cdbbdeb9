from __future__ import annotations

import torch
from torch import nn

from train.average import WeightAverage


def network(value: float) -> nn.Module:
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, value)
    return module


def test_an_average_by_hand():
    """From 1 to 3 with decay 0.75: 1.5, then 1.875. The counter of batches is no average."""
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.75)
    nn.init.constant_(module.weight, 3.0)
    module.num_batches_tracked += 7
    average.update()
    assert average.averages["n"]["weight"].item() == 1.5
    average.update()
    assert average.averages["n"]["weight"].item() == 1.875
    assert average.averages["n"]["num_batches_tracked"].item() == 7


def test_it_stands_in_only_for_as_long_as_asked():
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.5)
    nn.init.constant_(module.weight, 3.0)
    average.update()
    with average.in_place():
        assert module.weight.item() == 2
    assert module.weight.item() == 3


def test_what_is_set_while_it_stands_in_stays_in_it_alone():
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.5)
    with average.in_place():
        nn.init.constant_(module.bias, 7.0)
    assert average.averages["n"]["bias"].item() == 7 and module.bias.item() == 0


def test_resumed_averages_go_on_from_where_they_were():
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.5)
    kept = {"n": {name: values.clone() + 1 for name, values in module.state_dict().items()}}
    average.resume(kept)
    average.update()
    assert average.averages["n"]["weight"].item() == 1.5


def test_without_decay_there_is_no_average():
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.0)
    average.update()
    with average.in_place():
        nn.init.constant_(module.weight, 3.0)
    assert not average.averages and module.weight.item() == 3


def test_gradients_do_not_reach_it():
    module = network(1.0)
    average = WeightAverage({"n": module}, 0.5)
    average.update()
    assert not any(values.requires_grad for values in average.averages["n"].values())
    assert torch.is_grad_enabled()
