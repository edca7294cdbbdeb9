"""Validation during training, against hand cases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qafm.datasets.market1501 import list_split
from synthetic import Recipe, make_dataset
from train.validation import validate


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp("crops")
    make_dataset(Recipe(train_identities=4, test_identities=2, images_per_identity=6, distractors=0, junk=0), root)
    return list_split(Path(root), "train")


def validated(describe, crops):
    return validate(describe, crops, device=torch.device("cpu"))


def test_descriptors_that_tell_identities_apart_are_perfect_whatever_their_length(crops):
    pids = torch.tensor([crop.pid for crop in crops])

    def describe(pixels, rows):
        assert pixels.shape[1:] == (384, 128, 3) and pixels.dtype == torch.uint8
        return {"v": torch.nn.functional.one_hot(pids[rows], 10_000).float() * (1 + rows[:, None])}

    assert validated(describe, crops) == {"mAP": 1.0, "rank1": 1.0}


def test_a_picture_by_the_same_camera_is_no_match(crops):
    """Everything alike, and so ranked in order of name: the mean precision follows by counting."""
    found = validated(lambda pixels, rows: {"v": torch.ones(len(rows), 2)}, crops)
    precisions, firsts = [], []
    for query in crops:
        hits, position, precision = 0, 0, []
        for other in crops:
            if (other.pid, other.camid) == (query.pid, query.camid):
                continue
            position += 1
            if other.pid == query.pid:
                hits += 1
                precision.append(hits / position)
        if precision:
            precisions.append(sum(precision) / hits)
            firsts.append(precision[0] == 1)
    assert found["mAP"] == pytest.approx(sum(precisions) / len(precisions))
    assert found["rank1"] == pytest.approx(sum(firsts) / len(firsts))


def test_without_a_true_match_there_is_nothing_to_validate(crops):
    alone = [crop for crop in crops if (crop.pid, crop.camid) == (crops[0].pid, crops[0].camid)]
    assert validated(lambda pixels, rows: {"v": torch.ones(len(rows), 2)}, alone) == {}


def test_every_vector_is_validated_and_the_first_counts(crops):
    pids = torch.tensor([crop.pid for crop in crops])

    def describe(pixels, rows):
        good = torch.nn.functional.one_hot(pids[rows], 10_000).float()
        return {"descriptor": torch.ones(len(rows), 2), "visual": good}

    found = validated(describe, crops)
    assert found["mAP_visual"] == 1 and found["mAP"] < 1
    assert found.keys() == {"mAP", "rank1", "mAP_visual"}
