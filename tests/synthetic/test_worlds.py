"""The drawn worlds: valid tables that are followed, nobody in two of them, pictures that can be seen."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.crops import DISTRACTOR_PID
from qafm.datasets.market1501 import list_split
from qafm.errors import InvalidSettings
from synthetic import SIZES, Recipe
from synthetic.__main__ import app
from synthetic.dataset import people, person_of
from synthetic.picture import make_picture
from synthetic.plan import shots
from synthetic.population import draw_attributes
from synthetic.scene import background
from synthetic.worlds import WORLDS

COLUMN = {attribute.name: column for column, attribute in enumerate(SCHEMA)}
FEW = Recipe(train_identities=12, test_identities=4, images_per_identity=6, distractors=6, junk=0, degraded=0)


def columns(name: str) -> int:
    """How many columns an attribute has in the tables: a colour has one more, for none that is named."""
    return len(SCHEMA[COLUMN[name]].values) + name.endswith("colour")


def pictures(recipe: Recipe) -> dict[int, np.ndarray]:
    """The training pictures by camera: float64 [N,128,64,3]."""
    attributes = people(recipe)
    drawn: dict[int, list[np.ndarray]] = {}
    for shot in shots(recipe):
        if shot.split == "train":
            data, _ = make_picture(shot, person_of(shot, attributes, recipe), recipe)
            with Image.open(io.BytesIO(data)) as picture:
                drawn.setdefault(shot.camid, []).append(np.asarray(picture, dtype=np.float64))
    return {camid: np.stack(of_camera) for camid, of_camera in drawn.items()}


def test_worlds_are_found_by_their_names_and_share_no_number() -> None:
    assert all(world.name == name for name, world in WORLDS.items())
    assert len({world.number for world in WORLDS.values()}) == len(WORLDS)
    assert Recipe().world == "first" and {recipe.world for recipe in SIZES.values()} == {"first"}


@pytest.mark.parametrize("world", WORLDS)
def test_the_tables_are_a_tree_over_all_attributes(world: str) -> None:
    before: list[str] = []
    for name, parent, counts in WORLDS[world].attributes:
        assert parent is None or parent in before
        assert len(counts) == (1 if parent is None else columns(parent)), name
        for row in counts:
            assert len(row) == columns(name), name
            assert min(row) >= 0 and sum(row) > 0, name
        before.append(name)
    assert sorted(before) == sorted(COLUMN)


@pytest.mark.parametrize("world", WORLDS)
def test_people_are_drawn_as_often_as_the_tables_say(world: str) -> None:
    rng = np.random.default_rng(0)
    # One by one: of people drawn together only so many may be look-alikes, which favours the rare.
    labels = [draw_attributes(WORLDS[world].attributes, 1, 0.0, rng)[0] for _ in range(3000)]

    def value(person: np.ndarray, name: str) -> int:
        label = int(person[COLUMN[name]])
        return columns(name) - 1 if label == MISSING else label

    for name, parent, counts in WORLDS[world].attributes:
        found = Counter((0 if parent is None else value(person, parent), value(person, name)) for person in labels)
        for row, expected in enumerate(counts):
            drawn = sum(found[row, column] for column in range(len(expected)))
            for column, count in enumerate(expected):
                share = count / sum(expected)
                # A binomial; half a person more, where the share is 0 or 1 or hardly anybody is in the row.
                allowed = 5 * (drawn * share * (1 - share)) ** 0.5 + 0.5
                assert abs(found[row, column] - drawn * share) <= allowed, (name, row, column)


def test_autumn_is_dressed_for_autumn() -> None:
    share = {}
    for world in ("first", "autumn"):
        recipe = replace(SIZES["study"], world=world)
        labels = np.stack(list(people(recipe).values()))
        share[world] = {
            (attribute.name, word): (labels[:, column] == label).mean()
            for column, attribute in enumerate(SCHEMA)
            for label, word in enumerate(attribute.values)
        }
    for what, first, autumn in (
        (("up", "long"), 0.06, 0.71),
        (("hat", "yes"), 0.03, 0.235),
        (("backpack", "yes"), 0.26, 0.224),
        (("age", "adult"), 0.18, 0.405),
        (("upcolour", "black"), 0.16, 0.26),
    ):
        assert share["first"][what] == pytest.approx(first, abs=0.05), what
        assert share["autumn"][what] == pytest.approx(autumn, abs=0.05), what


def test_strangers_are_dressed_as_the_others_of_their_world() -> None:
    recipe = Recipe(world="autumn", train_identities=1, test_identities=1, distractors=100, junk=0)
    strangers = [person_of(shot, {}, recipe) for shot in shots(recipe) if shot.pid == DISTRACTOR_PID]
    assert sum(person.words["up"] == "long" for person in strangers) / 100 == pytest.approx(0.71, abs=0.2)


def test_the_same_seed_shows_nobody_and_no_place_in_two_worlds() -> None:
    there = {world: replace(FEW, world=world) for world in WORLDS}
    seeds = [{shot.person for shot in shots(recipe)} for recipe in there.values()]
    assert not set.intersection(*seeds)
    seen = [[(shot.pid, shot.camid) for shot in shots(recipe)] for recipe in there.values()]
    assert seen[0] != seen[1]
    walls = [np.asarray(background(recipe, 1, np.random.default_rng(0))) for recipe in there.values()]
    assert np.abs(walls[0].astype(int) - walls[1]).mean() > 10


@pytest.mark.parametrize("world", WORLDS)
def test_pictures_are_neither_black_nor_blown_out(world: str) -> None:
    for camid, of_camera in pictures(replace(FEW, world=world)).items():
        grey = of_camera @ (0.299, 0.587, 0.114)
        assert 60 < grey.mean() < 190, camid
        assert (grey < 8).mean() < 0.1 and (grey > 250).mean() < 0.05, camid
        assert grey.std(axis=(1, 2)).mean() > 25, camid


def test_autumn_has_other_colours_than_the_first() -> None:
    """Mean colours of cameras lie farther apart between the two worlds than two seeds of the first do."""

    def mean_colour(recipe: Recipe) -> np.ndarray:
        return np.mean([of_camera.mean(axis=(0, 1, 2)) for of_camera in pictures(recipe).values()], axis=0)

    first, again, autumn = (mean_colour(r) for r in (FEW, replace(FEW, seed=1), replace(FEW, world="autumn")))
    assert np.linalg.norm(first - autumn) > 2 * np.linalg.norm(first - again)
    assert first[0] - first[2] < autumn[0] - autumn[2]  # warmer


def test_a_world_of_fewer_cameras_with_the_sun_at_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {}
    for side, light in (("left", (-1.0, -1.0)), ("right", (1.0, 1.0))):
        cameras = tuple(replace(camera, light=light) for camera in WORLDS["first"].cameras[:3])
        monkeypatch.setitem(WORLDS, side, replace(WORLDS["first"], name=side, number=7, cameras=cameras))
        drawn = pictures(replace(FEW, world=side, cameras_per_identity=2.5))
        assert drawn.keys() == {1, 2, 3}
        middle = np.concatenate(list(drawn.values()))[:, 40:70].mean(axis=(0, 1, 3))
        halves[side] = middle[22:32].mean() - middle[32:42].mean()
    assert halves["left"] > halves["right"] + 10
    with pytest.raises(InvalidSettings, match="cameras_per_identity: expected 2 to 3, got 3.5"):
        replace(FEW, world="left", cameras_per_identity=3.5)


def test_the_command_draws_a_world_by_name_and_refuses_others(tmp_path: Path) -> None:
    few = ["--train-identities=3", "--test-identities=2", "--images-per-identity=4", "--junk=0", "--workers=1"]

    def run(*options: str):
        return CliRunner().invoke(app, ["--out", str(tmp_path / "out"), *few, *options])

    unknown = run("--world=winter")
    assert unknown.exit_code == 2
    assert all(name in unknown.stderr for name in ("winter", *WORLDS))
    assert not (tmp_path / "out").exists()

    done = run("--world=autumn", f"--contact-sheet={tmp_path / 'sheet.png'}")
    assert done.exit_code == 0, done.output
    recipe = Recipe(**json.loads((tmp_path / "out" / "recipe.json").read_text())["recipe"])
    expected = Recipe(world="autumn", train_identities=3, test_identities=2, images_per_identity=4, junk=0)
    assert asdict(recipe) == asdict(expected)
    attributes = people(expected)
    shot = shots(expected)[5]
    assert (tmp_path / "out" / shot.path).read_bytes() == make_picture(
        shot, person_of(shot, attributes, expected), expected
    )[0]
    assert len(list_split(tmp_path / "out", "train")) == 12
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 64


def test_a_recipe_of_an_unknown_world_names_those_there_are() -> None:
    with pytest.raises(InvalidSettings, match="world: expected one of first, autumn, got winter"):
        Recipe(world="winter")
