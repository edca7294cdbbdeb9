"""The drawn Market-1501: counts, names, records, repeatability, and that what is annotated is drawn."""

from __future__ import annotations

import hashlib
import io
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.attribute_file import read_attributes
from qafm.datasets.crops import DISTRACTOR_PID, JUNK_PID
from qafm.datasets.degradations import Degradation
from qafm.datasets.folders import FOLDERS
from qafm.datasets.market1501 import ATTRIBUTE_FILE, PUBLISHED_COUNTS, list_split, parse_name
from qafm.errors import InvalidDataset, InvalidSettings
from synthetic import SIZES, Recipe, make_dataset
from synthetic.__main__ import app
from synthetic.canvas import Place, Pose
from synthetic.dataset import people, person_of
from synthetic.degradation import KINDS, degrade
from synthetic.figure import draw_figure
from synthetic.person import make_person
from synthetic.picture import make_picture
from synthetic.plan import shots
from synthetic.population import draw_attributes
from synthetic.worlds import WORLDS

SMALL = Recipe(train_identities=4, test_identities=3, images_per_identity=20, distractors=7, junk=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "new" / "dataset"
    make_dataset(SMALL, out)
    return out


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--workers=1"])


def test_the_dataset_reads_as_market_1501(dataset: Path) -> None:
    train, query, gallery = (list_split(dataset, split) for split in ("train", "query", "gallery"))
    assert len(train) == 4 * 20
    assert {crop.pid for crop in train} == {1, 2, 3, 4}
    assert {crop.pid for crop in query} == {5, 6, 7}
    counts = Counter(crop.pid for crop in gallery)
    assert counts[DISTRACTOR_PID] == 7
    assert counts[JUNK_PID] == 5
    assert len(gallery) == 3 * 20 + 7 + 5
    for split, pids in (("train", {1, 2, 3, 4}), ("test", {5, 6, 7})):
        attributes = read_attributes(dataset / ATTRIBUTE_FILE, split)  # type: ignore[arg-type]
        assert attributes.keys() == pids
        for pid in pids:
            np.testing.assert_array_equal(attributes[pid], people(SMALL)[pid])
    for crop in train[:5] + query + gallery[:10]:
        with Image.open(crop.path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 128))


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        replace(SMALL, images_per_identity=2, cameras_per_identity=6),
        Recipe(test_identities=40, images_per_identity=7.5, cameras_per_identity=2.5),
    ],
)
def test_every_query_is_one_of_its_camera_and_has_a_match_under_another(recipe: Recipe) -> None:
    planned = shots(recipe)
    queries = [(shot.pid, shot.camid) for shot in planned if shot.split == "query"]
    gallery = {(shot.pid, shot.camid) for shot in planned if shot.split == "gallery"}
    assert len(queries) == len(set(queries)) == recipe.queries
    assert all(2 <= count <= 6 for count in Counter(pid for pid, _ in queries).values())
    assert all(any(pid == p and camid != c for p, c in gallery) for pid, camid in queries)


def test_full_size_has_the_published_counts() -> None:
    planned = shots(SIZES["full"])
    assert Counter(shot.split for shot in planned) == PUBLISHED_COUNTS
    assert len({shot.pid for shot in planned if shot.split == "train"}) == 751
    assert len({shot.pid for shot in planned if shot.split == "query"}) == 750
    counts = Counter(shot.pid for shot in planned if shot.split == "gallery")
    assert (counts[JUNK_PID], counts[DISTRACTOR_PID]) == (3_819, 2_798)
    paths = {shot.path for shot in planned}
    assert len(paths) == len(planned)
    for shot in planned:
        crop = parse_name(Path(shot.path))
        assert (crop.pid, crop.camid) == (shot.pid, shot.camid)


def test_study_has_many_people_and_few_images_of_each() -> None:
    planned = shots(SIZES["study"])
    assert Counter(shot.split for shot in planned) == {"train": 900 * 5, "query": 800 * 3, "gallery": 800 * 4 + 400}
    assert len({shot.pid for shot in planned if shot.split == "train"}) == 900
    assert len({shot.pid for shot in planned if shot.split == "query"}) == 800
    counts = Counter(shot.pid for shot in planned if shot.split == "gallery")
    assert (counts[DISTRACTOR_PID], counts[JUNK_PID]) == (300, 100)


def test_a_recipe_that_was_drawn_before_gives_the_same_again() -> None:
    """What version 1 of recipe.json has drawn from the first: results on a drawn dataset are compared over years."""
    digests = {}
    for name in ("default", "full"):
        planned, attributes = shots(SIZES[name]), people(SIZES[name])
        who = b"".join(attributes[pid].tobytes() for pid in sorted(attributes))
        what = repr([(s.split, s.pid, s.camid, s.index, s.path, s.person) for s in planned]).encode()
        digests[name] = tuple(hashlib.sha256(content).hexdigest()[:12] for content in (what, who))
    assert digests == {"default": ("11ed70383a1b", "5826cb30327f"), "full": ("9a55b3b99318", "b175ad738fbf")}

    planned, attributes = shots(Recipe()), people(Recipe())
    # Colours by eighths from the top; the last bit of a cosine may differ from one machine to another.
    for index, kind, strength, top, bottom in (
        (7, "none", 0.0, (81.1, 79.7, 77.4), (63.1, 80.9, 71.4)),
        (12, "noise", 0.619, (152.2, 83.3, 120.2), (115.1, 106.4, 102.2)),
        (-1, "occlusion", 0.878, (172.7, 117.6, 70.3), (181.3, 130.9, 78.7)),
    ):
        data, degradation = make_picture(planned[index], person_of(planned[index], attributes, Recipe()), Recipe())
        assert degradation == Degradation(kind, strength)
        with Image.open(io.BytesIO(data)) as picture:
            colours = np.asarray(picture, dtype=np.float64).reshape(8, -1, 3).mean(axis=1)
        np.testing.assert_allclose(colours[[0, -1]], [top, bottom], atol=0.5)


def test_each_image_has_its_degradation_recorded(dataset: Path) -> None:
    record = json.loads((dataset / "degradations.json").read_text())
    assert record["version"] == 1
    assert record["fields"].keys() == {"kind", "strength"}
    images = record["images"]
    assert images.keys() == {f"{f}/{path.name}" for f in FOLDERS.values() for path in (dataset / f).iterdir()}
    assert {entry["kind"] for entry in images.values()} == {"none", *KINDS}
    for entry in images.values():
        assert entry.keys() == {"kind", "strength"}
        assert (entry["strength"] == 0) == (entry["kind"] == "none")
        assert 0 <= entry["strength"] <= 1
    fraction = sum(entry["kind"] != "none" for entry in images.values()) / len(images)
    assert abs(fraction - SMALL.degraded) < 4 * math.sqrt(0.25 / len(images))


def test_the_same_seed_gives_the_same_files_however_they_are_drawn(dataset: Path, tmp_path: Path) -> None:
    make_dataset(SMALL, tmp_path / "again", workers=2)
    assert _files(tmp_path / "again") == _files(dataset)

    attributes, reseeded = people(SMALL), []
    for shot in shots(SMALL)[::-17]:  # one at a time and backwards: nothing depends on what came before
        data, _ = make_picture(shot, person_of(shot, attributes, SMALL), SMALL)
        assert data == (dataset / shot.path).read_bytes()
        other, degradation = make_picture(shot, person_of(shot, attributes, SMALL), replace(SMALL, seed=1))
        assert other != data
        reseeded.append(degradation._asdict())
    record = json.loads((dataset / "degradations.json").read_text())["images"]
    assert reseeded != [record[shot.path] for shot in shots(SMALL)[::-17]]


def test_degraded_changes_only_the_degraded_images(dataset: Path) -> None:
    record = json.loads((dataset / "degradations.json").read_text())["images"]
    attributes = people(SMALL)
    for shot in shots(SMALL)[::20]:
        clean, degradation = make_picture(shot, person_of(shot, attributes, SMALL), replace(SMALL, degraded=0))
        assert degradation == Degradation("none", 0.0)
        if record[shot.path]["kind"] == "none":
            assert clean == (dataset / shot.path).read_bytes()


@pytest.mark.parametrize("kind", [*KINDS, "compression"])
def test_a_stronger_degradation_takes_more_away(kind) -> None:
    recipe = replace(SMALL, degraded=0)
    shot = shots(recipe)[0]
    data, _ = make_picture(shot, person_of(shot, people(recipe), recipe), recipe)
    picture = Image.open(io.BytesIO(data))
    before = np.asarray(picture, dtype=np.float64)

    def lost(strength: float) -> float:
        changed = degrade(picture, Degradation(kind, strength), np.random.default_rng(3))
        return float(np.abs(np.asarray(changed) - before).mean())

    losses = [lost(strength) for strength in (0.05, 0.3, 0.6, 1.0)]
    assert losses[0] > 0
    assert losses == sorted(losses)
    assert losses[-1] > 2 * losses[0]


def test_an_undegraded_picture_is_left_alone() -> None:
    picture = Image.new("RGB", (64, 128), (10, 20, 30))
    same = degrade(picture, Degradation("none", 0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(np.asarray(same), np.asarray(picture))


def test_occlusion_covers_the_stated_part() -> None:
    picture = Image.new("RGB", (64, 128), (1, 2, 3))
    for seed in range(12):
        covered = degrade(picture, Degradation("occlusion", 0.5), np.random.default_rng(seed))
        fraction = (np.asarray(covered) != (1, 2, 3)).any(axis=-1).mean()
        assert 0.33 <= fraction <= 0.5  # 0.1 + 0.5 * 0.5, and what a bush's twigs reach beyond


def test_misalignment_loses_the_stated_parts() -> None:
    """Each pixel tells where it was."""
    across, down = np.meshgrid(np.arange(64), np.arange(128))
    picture = Image.fromarray(np.stack([4 * across, 2 * down, 0 * down], axis=-1).astype(np.uint8))
    seen = set()
    for seed in range(12):
        moved = np.asarray(degrade(picture, Degradation("misalignment", 0.8), np.random.default_rng(seed)))
        assert moved.shape == (128, 64, 3)
        left, top, _ = moved.reshape(-1, 3).min(axis=0) / (4 * 64, 2 * 128, 1)
        right, bottom, _ = moved.reshape(-1, 3).max(axis=0) / (4 * 64, 2 * 128, 1)
        kept = sorted([right - left, bottom - top])
        np.testing.assert_allclose(kept, [0.6, 0.8], atol=0.03)
        seen.add((left < 0.03, top < 0.03))
    assert len(seen) == 4


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a kind of blur.*, or none, got fog"):
        degrade(Image.new("RGB", (4, 4)), Degradation("fog", 0.5), np.random.default_rng(0))


@pytest.mark.parametrize("attribute", SCHEMA, ids=lambda attribute: attribute.name)
def test_every_value_of_every_attribute_can_be_seen(attribute) -> None:
    """Two people alike but for one attribute differ from some side by at least a small but visible patch."""
    column = SCHEMA.index(attribute)
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1], dtype=np.int8)
    values = [*range(len(attribute.values)), *([MISSING] if attribute.name.endswith("colour") else [])]
    drawn = []
    for value in values:
        changed = labels.copy()
        changed[column] = value
        person = make_person(changed, np.random.default_rng(5))
        poses = [Pose(heading, 0.8, 0.2, 0.0) for heading in (0.0, math.pi / 2, math.pi, -math.pi / 2)]
        figures = [draw_figure(person, pose, Place(32, 122, 118), (64, 128)) for pose in poses]
        drawn.append(np.stack([np.asarray(figure.convert("RGBa")) for figure in figures]).astype(int))
    for i, one in enumerate(drawn):
        for j, other in enumerate(drawn[:i]):
            differs = (np.abs(one - other).max(axis=-1) > 40).sum(axis=(1, 2)).max()
            assert differs >= 40, f"{attribute.name}: values {values[i]} and {values[j]} look the same"


@pytest.mark.parametrize("name", ["hat", "backpack", "bag", "handbag"])
def test_what_somebody_wears_or_carries_adds_to_the_outline(name: str) -> None:
    without = np.array([0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1], dtype=np.int8)
    carrying = without.copy()
    carrying[[attribute.name for attribute in SCHEMA].index(name)] = 1

    def area(labels: np.ndarray) -> int:
        person = make_person(labels, np.random.default_rng(7))
        headings = np.arange(8) * math.pi / 4
        poses = [Pose(float(heading), 0.0, 0.2, 0.0) for heading in headings]
        figures = [draw_figure(person, pose, Place(32, 122, 118), (64, 128)) for pose in poses]
        return sum(int((np.asarray(figure)[..., 3] > 128).sum()) for figure in figures)

    assert area(carrying) > area(without) + 8 * 20


def test_attributes_follow_the_published_frequencies_and_correlations() -> None:
    labels = draw_attributes(WORLDS["first"].attributes, 751, 0.5, np.random.default_rng(0))
    by_name = {attribute.name: labels[:, column] for column, attribute in enumerate(SCHEMA)}
    # Counts of the published file's 1,501 identities; four standard deviations and some for the copies.
    for name, value, count in (
        ("gender", 1, 656),
        ("hair", 1, 520),
        ("backpack", 1, 386),
        ("age", 1, 1209),
        ("upcolour", MISSING, 147),
        ("downcolour", MISSING, 74),
    ):
        assert (by_name[name] == value).mean() == pytest.approx(count / 1501, abs=0.08), name
    assert not ((by_name["clothes"] == 0) & (by_name["gender"] == 0)).any()  # no man wears a dress
    assert not ((by_name["bag"] == 1) & (by_name["backpack"] == 1)).any()
    assert by_name["hair"][by_name["gender"] == 1].mean() > 0.7


@pytest.mark.parametrize(("count", "lookalikes"), [(1, 0.5), (2, 0.5), (7, 0.5), (100, 0.5), (751, 0.49), (60, 0.0)])
def test_the_wanted_part_of_the_identities_has_lookalikes(count: int, lookalikes: float) -> None:
    labels = draw_attributes(WORLDS["first"].attributes, count, lookalikes, np.random.default_rng(1))
    groups = Counter(row.tobytes() for row in labels)
    shared = sum(size for size in groups.values() if size > 1)
    assert labels.shape == (count, 12)
    assert abs(shared - lookalikes * count) <= 1.5


def test_lookalikes_are_not_the_same_person() -> None:
    labels = people(SMALL)[1]
    one, other = (make_person(labels, np.random.default_rng([0, pid])) for pid in (1, 2))
    pose, place = Pose(0.2, 1.0, 0.2, 0.0), Place(32, 122, 118)
    pictures = [np.asarray(draw_figure(p, pose, place, (64, 128)).convert("RGBa")) for p in (one, other)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max(axis=-1).sum() > 20_000


def test_a_previous_result_is_replaced_and_nothing_else_is_touched(tmp_path: Path) -> None:
    tiny = Recipe(train_identities=1, test_identities=1, images_per_identity=2, distractors=0, junk=0)
    out = tmp_path / "out"
    make_dataset(replace(tiny, images_per_identity=5), out)
    make_dataset(tiny, out)
    assert len(list_split(out, "train")) == 2

    # The command had another name once.
    recipe = json.loads((out / "recipe.json").read_text())
    (out / "recipe.json").write_text(json.dumps({**recipe, "maker": "train.synthetic"}))
    make_dataset(tiny, out)
    assert json.loads((out / "recipe.json").read_text())["maker"] == "synthetic"

    (out / "recipe.json").unlink()
    before = _files(out)
    with pytest.raises(InvalidDataset, match="not empty"):
        make_dataset(tiny, out)
    assert _files(out) == before
    with pytest.raises(InvalidDataset, match="is a file"):
        make_dataset(tiny, out / ATTRIBUTE_FILE)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"train_identities": 0}, {"degraded": 1.1}, {"images_per_identity": 1}, {"junk": -1}],
)
def test_a_value_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_the_command_draws_and_refuses(tmp_path: Path) -> None:
    sizes = ["--train-identities=4", "--test-identities=3", "--images-per-identity=4", "--junk=2"]
    done = _run("--out", str(tmp_path / "out"), "--contact-sheet", str(tmp_path / "sheet.png"), *sizes)
    assert done.exit_code == 0, done.output
    assert len(list_split(tmp_path / "out", "train")) == 16
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 64

    refused = _run("--out", str(tmp_path), *sizes)
    assert refused.exit_code == 2
    assert "not empty" in refused.stderr
    assert _run("--out", str(tmp_path / "x"), "--degraded", "2").exit_code == 2


def test_options_replace_numbers_of_a_named_size(tmp_path: Path) -> None:
    few = ["--train-identities=2", "--test-identities=2", "--distractors=0", "--junk=0"]

    def drawn(*options: str) -> dict[str, object]:
        done = _run("--out", str(tmp_path / "out"), *few, *options)
        assert done.exit_code == 0, done.output
        return json.loads((tmp_path / "out" / "recipe.json").read_text())["recipe"]

    small = {"train_identities": 2, "test_identities": 2, "distractors": 0, "junk": 0}
    assert drawn() == asdict(replace(SIZES["default"], **small))
    assert drawn("--size=study", "--seed=3") == asdict(replace(SIZES["study"], seed=3, **small))
    assert len(list_split(tmp_path / "out", "query")) == 2 * 3
    assert drawn("--full-size") == drawn("--full-size", "--size=full") == asdict(replace(SIZES["full"], **small))
    # The mean of the training images is the gallery's too, whatever the size has there.
    changed = drawn("--size=study", "--images-per-identity=7", "--degraded=0")
    expected = replace(SIZES["study"], **small, images_per_identity=7, gallery_per_identity=None, degraded=0)
    assert changed == asdict(expected)
    assert expected.gallery_images == 14


def test_sizes_that_do_not_exist_or_contradict_each_other_are_refused(tmp_path: Path) -> None:
    both = _run("--out", str(tmp_path / "out"), "--size=study", "--full-size")
    assert both.exit_code == 2
    assert "--size study" in both.stderr
    unknown = _run("--out", str(tmp_path / "out"), "--size=huge")
    assert unknown.exit_code == 2
    assert all(name in unknown.stderr for name in ("huge", *SIZES))
    assert not (tmp_path / "out").exists()


def test_it_needs_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import synthetic.__main__"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
