"""Heat maps show where a branch takes from the picture, and say whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from rich.console import Console

from client.report.report import read_heatmaps
from export.heatmaps import drawn, heatmaps, main, write_heatmaps
from qafm.contract import HEIGHT, WIDTH
from qafm.errors import InvalidImage
from tests.support.seeded_repository import seeded_networks


@pytest.fixture(scope="module")
def networks():
    return seeded_networks()


def crop():
    return np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)


def test_maps_are_of_the_pictures_size_and_reach_one(networks):
    for heat in heatmaps(networks, crop()):
        assert heat.shape == (HEIGHT, WIDTH) and heat.min() >= 0
        assert heat.max() == pytest.approx(1)


def test_a_map_is_hot_where_the_features_are(networks):
    """With features that live in the lower left alone, so does the map."""

    def lower_left(_module, _inputs, output):
        kept = torch.zeros_like(output)
        kept[..., output.shape[2] // 2 :, : output.shape[3] // 2] = 1
        return output * kept + kept

    hook = networks.apan.attend.register_forward_hook(lower_left)
    try:
        apn, apan = heatmaps(networks, crop())
    finally:
        hook.remove()
    rows, columns = HEIGHT // 2, WIDTH // 2
    assert apan[rows + 20 :, : columns - 20].min() > 0 and apan[: rows - 20].max() == apan[:, columns + 20 :].max() == 0
    assert apn[: rows - 20].max() > 0


def test_a_drawing_is_the_crop_and_two_maps(networks):
    cold, hot = np.zeros((HEIGHT, WIDTH), np.float32), np.ones((HEIGHT, WIDTH), np.float32)
    white = np.full((128, 64, 3), 255, np.uint8)
    picture = drawn(white, (cold, hot))
    assert picture.shape == (HEIGHT, 3 * WIDTH, 3)
    assert (picture[:, :WIDTH] == 255).all()
    assert (picture[:, WIDTH : 2 * WIDTH] == 64).all()  # a quarter of the light
    assert picture[0, -1].tolist() == [255, 158, 128]  # half of it hot


def test_files_are_listed_with_their_images(networks, tmp_path):
    paths = []
    for name in ("b.png", "a.jpg"):
        Image.fromarray(crop()).save(tmp_path / name)
        paths.append(tmp_path / name)
    write_heatmaps(networks, paths, tmp_path / "out", Console(quiet=True))
    listed = json.loads((tmp_path / "out/heatmaps.json").read_text())["heatmaps"]
    assert listed == [{"image": "b.png", "file": "000-b.png"}, {"image": "a.jpg", "file": "001-a.png"}]
    assert Image.open(tmp_path / "out/000-b.png").size == (3 * WIDTH, HEIGHT)


def test_pictures_of_one_name_in_two_folders_are_told_apart(networks, tmp_path):
    paths = [tmp_path / "one/a/x.jpg", tmp_path / "one/b/x.jpg", tmp_path / "one/y.jpg"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop()).save(path)
    write_heatmaps(networks, paths, tmp_path / "out", Console(quiet=True))
    assert sorted(read_heatmaps(tmp_path / "out")) == ["a/x.jpg", "b/x.jpg", "y.jpg"]


def test_what_is_no_picture_is_named(networks, tmp_path):
    (tmp_path / "bad.jpg").write_text("no")
    with pytest.raises(InvalidImage, match=r"bad\.jpg: the 2 bytes are not"):
        write_heatmaps(networks, [tmp_path / "bad.jpg"], tmp_path / "out", Console(quiet=True))


def test_a_shells_pattern_names_the_crops(monkeypatch, tmp_path, networks, capsys):
    """The option takes one value; what the shell puts after it are arguments."""
    for name in "ab":
        Image.fromarray(crop()).save(tmp_path / f"{name}.png")
    monkeypatch.setattr("train.checkpoint.load_networks", lambda run: networks)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(main)
    app(["run", "--images", "a.png", "b.png", "--out", "maps"], standalone_mode=False)
    drawn_of = [heat["image"] for heat in json.loads(Path("maps/heatmaps.json").read_text())["heatmaps"]]
    assert drawn_of == ["a.png", "b.png"]
