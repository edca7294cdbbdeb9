"""The 34 views against a slow float64 reading of their definitions, pixel by pixel where that is affordable."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qafm.contract import HEIGHT, WIDTH
from qafm.images import resize
from qafm.perturbations import PERTURBATIONS, views

SIZES = [(128, 64), (31, 17), (4, 5)]


def crop_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    crop = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    crop[: height // 4] = 0  # black pixels are a case of their own in the lighting
    crop[height // 4 : height // 2] //= 8
    return crop


def reference(crop: np.ndarray, index: int) -> np.ndarray:
    """float64 [H,W,3], unrounded: the definitions of the paper's notes, written as plainly as possible."""
    height, width = crop.shape[:2]
    out = crop.astype(np.float64)
    if index <= 4:
        offset = (-90, -45, 45, 90)[index - 1]
        for y in range(height):
            for x in range(width):
                value = max(int(channel) for channel in crop[y, x])
                moved = min(max(value + offset, 0), 255)
                for c in range(3):
                    out[y, x, c] = moved if value == 0 else int(crop[y, x, c]) * moved / value
    elif index <= 7:
        sigma = (1.0, 1.5, 1.85)[index - 5]
        radius = math.ceil(4 * sigma)
        steps = range(-radius, radius + 1)
        weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in steps]
        rows = [[min(max(y + step, 0), height - 1) for step in steps] for y in range(height)]
        columns = [[min(max(x + step, 0), width - 1) for step in steps] for x in range(width)]
        kernel = np.outer(weights, weights) / sum(weights) ** 2
        for y in range(height):
            for x in range(width):
                window = crop[np.ix_(rows[y], columns[x])].astype(np.float64)
                out[y, x] = (window * kernel[..., None]).sum(axis=(0, 1))
    elif index <= 23:
        side, step = divmod(index - 8, 4)
        fraction = (0.05, 0.10, 0.15, 0.20)[step]
        for y in range(height):
            for x in range(width):
                along, length = ((y, height), (height - 1 - y, height), (x, width), (width - 1 - x, width))[side]
                if along < round(fraction * length):
                    out[y, x] = 0
    elif index <= 31:
        size, colour = divmod(index - 24, 4)
        axes = (0.90, 0.75)[size]
        outside = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))[colour]
        for y in range(height):
            for x in range(width):
                across = (x + 0.5 - width / 2) / (axes * width / 2)
                down = (y + 0.5 - height / 2) / (axes * height / 2)
                if across**2 + down**2 > 1:
                    out[y, x] = outside
    else:
        generator = np.random.default_rng(index)
        if index == 32:
            out += generator.normal(0, 10, crop.shape)
        elif index == 33:
            drawn = generator.random((height, width))
            out[drawn < 0.02] = 255
            out[drawn >= 0.98] = 0
        else:
            out *= 1 + generator.normal(0, 0.1, crop.shape)
    return out.clip(0, 255)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda perturbation: perturbation.name)
def test_agrees_with_the_definition_within_one_grey_level(perturbation, size):
    crop = crop_of(*size)
    got = perturbation.apply(crop)
    assert got.dtype == np.uint8 and got.shape == crop.shape
    assert np.abs(got - reference(crop, perturbation.index)).max() <= 1


def test_families_come_in_the_papers_order_and_counts():
    families = [perturbation.family for perturbation in PERTURBATIONS]
    assert families == ["lighting"] * 4 + ["blur"] * 3 + ["occlusion"] * 16 + ["background"] * 8 + ["noise"] * 3
    assert [perturbation.index for perturbation in PERTURBATIONS] == list(range(1, 35))
    assert len({perturbation.name for perturbation in PERTURBATIONS}) == 34


def test_lighting_by_hand():
    # V = 200 falls to 110: each channel keeps its share of V. Black rises to grey.
    crop = np.array([[[200, 100, 0], [0, 0, 0]]], np.uint8)
    assert PERTURBATIONS[0].apply(crop).tolist() == [[[110, 55, 0], [0, 0, 0]]]
    assert PERTURBATIONS[3].apply(crop).tolist() == [[[255, 128, 0], [90, 90, 90]]]


def test_bars_by_hand():
    white = np.full((20, 10, 3), 255, np.uint8)
    black = {p.name: (p.apply(white) == 0).all(axis=2) for p in PERTURBATIONS if p.family == "occlusion"}
    assert black["bar-top-10%"].sum() == 2 * 10 and black["bar-top-10%"][:2].all()
    assert black["bar-bottom-20%"].sum() == 4 * 10 and black["bar-bottom-20%"][-4:].all()
    assert black["bar-left-20%"].sum() == 2 * 20 and black["bar-left-20%"][:, :2].all()
    assert not black["bar-right-5%"].any()  # round(0.05 * 10) is 0


def test_blur_keeps_a_flat_picture_and_the_mean():
    flat = np.full((40, 30, 3), 77, np.uint8)
    assert all((p.apply(flat) == 77).all() for p in PERTURBATIONS if p.family == "blur")


def test_a_perturbation_leaves_the_crop_alone():
    crop = crop_of(31, 17)
    before = crop.copy()
    for perturbation in PERTURBATIONS:
        perturbation.apply(crop)
    assert (crop == before).all()


def test_views_are_always_the_same_and_the_first_is_the_crop():
    crop = crop_of(128, 64)
    seen = views(crop)
    assert seen.shape == (35, HEIGHT, WIDTH, 3) and seen.dtype == np.uint8
    assert (seen[0] == resize(crop)).all()
    assert (views(crop.copy()) == seen).all()


@given(st.integers(4, 70), st.integers(4, 70), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_any_size_gives_views(height, width, seed):
    crop = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert views(crop).shape == (35, HEIGHT, WIDTH, 3)


def test_command_writes_35_pictures_and_a_manifest(tmp_path):
    crop = crop_of(128, 64)
    Image.fromarray(crop).save(tmp_path / "crop.png")
    command = [
        sys.executable,
        "-m",
        "qafm.perturbations",
        str(tmp_path / "crop.png"),
        "--out",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [entry["index"] for entry in manifest["views"]] == list(range(35))
    assert all(entry.keys() >= {"index", "family", "name", "parameters"} for entry in manifest["views"])
    files = [entry["file"] for entry in manifest["views"]]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == files == sorted(files)
    written = np.stack([np.asarray(Image.open(tmp_path / "out" / file)) for file in files])
    assert (written == views(crop)).all()


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_command_refuses_what_is_no_picture(tmp_path, content):
    image = tmp_path / "crop.jpg"
    if content:
        image.write_bytes(content)
    command = [sys.executable, "-m", "qafm.perturbations", str(image), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "crop.jpg" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(128, 64), (31, 17), (4, 5), (77, 128), (384, 128), (1000, 400)])
def test_views_are_the_resized_perturbations_to_the_bit(size):
    crop = crop_of(*size)
    seen = views(crop)
    for perturbation in PERTURBATIONS:
        assert (seen[perturbation.index] == resize(perturbation.apply(crop))).all(), perturbation.name
