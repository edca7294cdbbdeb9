"""What the signals of quality tell: of pictures made worse in a known way, by a pipeline whose answers are known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.pipelines import Pipeline
from export.quality_check import PICTURES, check_quality, look, misleading, spoil
from qafm.contract import ATTRIBUTES, CROP, DESCRIPTOR, FEATURES, SEMANTIC, VIEWS, VISUAL
from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation, undegraded, write_degradations
from qafm.weighting.constant import Constant
from synthetic.degradation import EVERY_KIND


class Known(Pipeline):
    """v_a is the mean colour of the crop, v_s nothing, and the 34 views scatter by how dark it is, or how bright."""

    weighting = Constant(np.float32(0.25))

    def __init__(self, *, dark_is_bad: bool = True) -> None:
        self.dark_is_bad = dark_is_bad

    def run(self, model, inputs):
        if model == "iqa":
            brightness = inputs[VIEWS.name][:, 0].mean(axis=(1, 2, 3)) / 255
            features = np.zeros((len(brightness), 35, 2048), np.float32)
            features[:, :, 0] = 1
            features[:, 1:, 1] = (1 - brightness if self.dark_is_bad else brightness)[:, None]
            return {FEATURES.name: features}
        if model == "fusion":
            weighted = inputs["ALPHA"] * inputs[VISUAL.name]
            return {DESCRIPTOR.name: weighted / np.linalg.norm(weighted, axis=1, keepdims=True)}
        colours = inputs[CROP.name].mean(axis=(1, 2), dtype=np.float32)
        if model == "apn":
            return {VISUAL.name: colours}
        return {SEMANTIC.name: np.zeros_like(colours), ATTRIBUTES.name: np.zeros((len(colours), 30), np.float32)}


def checked(pipeline, spoilt):
    return check_quality(pipeline, look(pipeline, spoilt))


def crops_of(folder: Path, people: int, cameras: int) -> list[Crop]:
    """All the same grey picture but for a tint that belongs to the person."""
    crops = []
    for pid in range(1, people + 1):
        for camid in range(1, cameras + 1):
            path = folder / f"{pid:04d}_c{camid}s1_000000_00.png"
            Image.new("RGB", (64, 128), (150, 150, 140 + pid % 5)).save(path)
            crops.append(Crop(path, pid, camid))
    return crops


def test_all_kinds_come_as_often_in_strengths_that_lie_evenly(tmp_path):
    crops = [Crop(tmp_path / f"{row}.jpg", pid=row // 10, camid=1) for row in range(1, 350)]
    spoilt = spoil(crops, seed=3)
    assert spoil(crops, seed=3) == spoilt != spoil(crops, seed=4)
    assert len(spoilt) == len({picture.crop for picture in spoilt}) == PICTURES
    counts = Counter(picture.degradation.kind for picture in spoilt)
    assert set(counts) == set(EVERY_KIND) and max(counts.values()) - min(counts.values()) <= 1
    for kind in EVERY_KIND:
        strengths = sorted(picture.degradation.strength for picture in spoilt if picture.degradation.kind == kind)
        np.testing.assert_allclose(strengths, (np.arange(len(strengths)) + 0.5) / len(strengths))
    # Whole people, but for the last one.
    pictures = Counter(picture.crop.pid for picture in spoilt)
    everybody = Counter(crop.pid for crop in crops)
    assert sum(pictures[pid] != everybody[pid] for pid in pictures) <= 1


def test_few_crops_come_more_than_once(tmp_path):
    crops = [Crop(tmp_path / f"{row}.jpg", pid=row // 10, camid=1) for row in range(1, 350)]
    assert set(Counter(picture.crop for picture in spoil(crops[:10], seed=3)).values()) == {3}
    spoilt = spoil(crops[:140], seed=3)
    assert len(set(spoilt)) == PICTURES and set(Counter(picture.crop for picture in spoilt).values()) == {2, 3}


def test_crops_that_come_more_than_once_are_looked_for_among_each_crop_once(tmp_path):
    crops = crops_of(tmp_path, 3, 2)
    assert len(look(Known(), spoil(crops, seed=0)).gallery) == len(crops)


def test_what_is_degraded_already_is_left_out(tmp_path):
    crops = crops_of(tmp_path, 2, 2)
    assert undegraded(crops, tmp_path) == crops
    names = [crop.path.name for crop in crops]
    wrong = dict.fromkeys(names[:3], Degradation("blur", 0.5))
    write_degradations(tmp_path / "degradations.json", wrong | {names[3]: Degradation("none", 0.0)})
    assert undegraded(crops, tmp_path) == crops[3:]
    write_degradations(tmp_path / "degradations.json", wrong)
    assert undegraded(crops, tmp_path) == crops


@pytest.mark.parametrize(("dark_is_bad", "expected"), [(True, 1.0), (False, -1.0)])
def test_a_signal_that_follows_darkness_is_found_out(tmp_path, dark_is_bad, expected):
    spoilt = spoil(crops_of(tmp_path, 21, 4), seed=0)
    quality = checked(Known(dark_is_bad=dark_is_bad), spoilt)
    assert set(quality) == {*EVERY_KIND, "discard"}
    darkness = quality["darkness"]
    assert darkness["n"] == 36
    assert darkness["spearman"] == {name: pytest.approx(expected) for name in ("identifiability", "scatter")}
    told = [sentence for sentence in misleading(quality) if "darkness" in sentence]
    assert len(told) == (0 if dark_is_bad else 2)
    assert dark_is_bad or "identifiability says that pictures get better" in told[0] and "-1.00 over 36" in told[0]
    assert set(quality["discard"]) == {"identifiability", "scatter", "true strength"}


def test_without_another_camera_nothing_can_be_left_out(tmp_path):
    quality = checked(Known(), spoil(crops_of(tmp_path, 14, 1), seed=0))
    assert quality["discard"] is None and quality["blur"]["n"] == 6


def test_a_signal_that_never_changes_has_no_correlation(tmp_path):
    class Constantly(Known):
        def run(self, model, inputs):
            outputs = super().run(model, inputs)
            return {name: np.ones_like(values) for name, values in outputs.items()} if model == "iqa" else outputs

    quality = checked(Constantly(), spoil(crops_of(tmp_path, 14, 2), seed=0))
    assert quality["noise"]["spearman"] == {"identifiability": None, "scatter": None}
    assert misleading(quality) == []


def test_few_pictures_are_no_proof():
    quality = {"noise": {"n": 5, "spearman": {"utility": -0.7}}, "blur": {"n": 50, "spearman": {"utility": -0.3}}}
    (told,) = misleading(quality)
    assert "blur" in told and "-0.30 over 50" in told
