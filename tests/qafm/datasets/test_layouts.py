"""Which layout a folder has; and of each published one, which image is whose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.csv_list import CsvList
from qafm.datasets.cuhk03 import Cuhk03
from qafm.datasets.degradations import Degradation, write_degradations
from qafm.datasets.dukemtmc import DukeMtmc
from qafm.datasets.layouts import open_dataset
from qafm.datasets.market1501 import Market1501
from qafm.datasets.msmt17 import Msmt17
from qafm.datasets.name_pattern import NamePattern
from qafm.errors import InvalidDataset
from synthetic import Recipe, make_dataset
from tests.support.datasets import by_name, make_files

MARKET = ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/0001_c1s1_001051_00.jpg",
          "bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/0000_c1s1_000151_01.jpg",
          "bounding_box_test/0001_c2s1_000301_00.jpg"]  # fmt: skip
DUKE = ["bounding_box_train/0001_c2_f0046182.jpg", "query/0005_c2_f0046985.jpg",
        "bounding_box_test/0005_c5_f0051781.jpg", "bounding_box_test/7139_c8_f0126361.jpg"]  # fmt: skip
CUHK = ["bounding_box_train/0003_c1_21.png", "query/0001_c1_1.png", "bounding_box_test/0001_c2_6.png"]
MSMT = {
    "train/0000/0000_000_01_0303morning_0008_0.jpg": ("train", 0),
    "train/0001/0001_003_15_0113noon_0408_1.jpg": ("val", 1),
    "test/0000/0000_001_03_0114afternoon_1035_2.jpg": ("query", 0),
    "test/0000/0000_002_14_0302morning_0245_0.jpg": ("gallery", 0),
    "test/0007/0007_000_01_0303morning_0017_2.jpg": ("gallery", 7),
}


def make_msmt(root: Path, version: int = 1) -> Path:
    folders = {"train": "train", "test": "test"} if version == 1 else {"train": "mask_train_v2", "test": "mask_test_v2"}
    lists: dict[str, list[str]] = {name: [] for name in ("train", "val", "query", "gallery")}
    for path, (split, pid) in MSMT.items():
        folder, _, name = path.partition("/")
        make_files(root, [f"{folders[folder]}/{name}"])
        lists[split].append(f"{name} {pid}\n")
    for split, lines in lists.items():
        (root / f"list_{split}.txt").write_text("".join(lines))
    return root


def test_each_layout_is_recognised(tmp_path):
    make_files(tmp_path / "market", MARKET)
    make_files(tmp_path / "duke", DUKE)
    make_files(tmp_path / "cuhk/labeled", CUHK)
    make_msmt(tmp_path / "msmt")
    make_files(tmp_path / "csv", MARKET)
    (tmp_path / "csv/dataset.csv").write_text(f"path,pid,camid,split\n{MARKET[1]},x,1,query\n")
    kinds = [type(open_dataset(tmp_path / name)) for name in ("market", "duke", "cuhk/labeled", "msmt", "csv")]
    assert kinds == [Market1501, DukeMtmc, Cuhk03, Msmt17, CsvList]
    assert type(open_dataset(tmp_path / "market", r".*/(?P<pid>[^/]+)")) is NamePattern


def test_a_folder_of_no_layout_is_told_what_was_found_and_what_is_known(tmp_path):
    make_files(tmp_path / "some", ["query/a.jpg", "gallery/b.jpg", "notes.txt"])
    with pytest.raises(InvalidDataset) as raised:
        open_dataset(tmp_path / "some")
    for words in ("holds gallery/, notes.txt, query/", "Market-1501", "DukeMTMC-reID", "MSMT17", "CUHK03-NP",
                  "dataset.csv", "--name-pattern", "python -m synthetic"):  # fmt: skip
        assert words in str(raised.value)
    with pytest.raises(InvalidDataset, match="gone: no such folder"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(InvalidDataset, match="notes.txt: is a file"):
        open_dataset(tmp_path / "some/notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataset, match="empty: is an empty folder"):
        open_dataset(tmp_path / "empty")


def test_market_1501(tmp_path):
    dataset = open_dataset(make_files(tmp_path, MARKET))
    assert by_name(tmp_path, dataset.split("gallery")) == dict(zip(MARKET[2:], [(-1, 1), (0, 1), (1, 2)], strict=True))
    assert [dataset.relative(crop) for crop in dataset.split("gallery")] == MARKET[2:]
    assert (dataset.identities("gallery"), dataset.cameras("gallery")) == ([1], [1, 2])
    assert dataset.identities("train") == [2]
    assert dataset.published_counts == {"train": 12_936, "query": 3_368, "gallery": 19_732}
    assert dataset.attribute_file == tmp_path / "market_attribute.mat"
    assert dataset.attributes("gallery") == {} and dataset.degradations() is None


def test_a_misnamed_file_is_named_in_the_words_of_most_of_the_others(tmp_path):
    for root, names, form in (
        ("market", [*MARKET, "query/0005_c2_f0046985.jpg"], "PID_cCAMsSEQUENCE_FRAME_BOX.jpg"),
        ("duke", [*DUKE, "query/person.jpg"], "PID_cCAM_fFRAME.jpg"),
        ("cuhk", [*CUHK, "query/person.png"], "PID_cCAM_IMAGE.png"),
        ("none", ["bounding_box_test/a.jpg", "query/person.jpg"], "PID_cCAMsSEQUENCE_FRAME_BOX.jpg"),
    ):
        with pytest.raises(InvalidDataset, match=f"{names[-1]}: the name is not of the form {form}"):
            open_dataset(make_files(tmp_path / root, names)).split("query")


def test_dukemtmc(tmp_path):
    dataset = open_dataset(make_files(tmp_path, [*DUKE, "query/Thumbs.db"]))
    assert by_name(tmp_path, dataset.split("train")) == {DUKE[0]: (1, 2)}
    assert by_name(tmp_path, dataset.split("query")) == {DUKE[1]: (5, 2)}
    assert by_name(tmp_path, dataset.split("gallery")) == {DUKE[2]: (5, 5), DUKE[3]: (7139, 8)}
    assert dataset.attributes("train") == {} and dataset.attribute_file is None


@given(st.integers(1, 9999), st.integers(1, 12), st.integers(0, 10**7 - 1))
def test_a_name_of_dukemtmc_says_identity_and_camera(pid, camid, frame):
    crop = DukeMtmc.naming.parse(Path(f"{pid:04d}_c{camid}_f{frame:07d}.jpg"))
    assert (crop.pid, crop.camid) == (pid, camid)


@given(st.integers(1, 9999), st.integers(1, 9), st.integers(1, 99999))
def test_a_name_of_cuhk03_says_identity_and_camera(pid, camid, image):
    crop = Cuhk03.naming.parse(Path(f"{pid:04d}_c{camid}_{image}.png"))
    assert (crop.pid, crop.camid) == (pid, camid)


@pytest.mark.parametrize(("boxes", "gallery"), [("labeled", 5_328), ("detected", 5_332)])
def test_cuhk03(tmp_path, boxes, gallery):
    dataset = open_dataset(make_files(tmp_path / boxes, CUHK))
    assert by_name(tmp_path / boxes, dataset.split("train")) == {CUHK[0]: (3, 1)}
    assert by_name(tmp_path / boxes, dataset.split("query")) == {CUHK[1]: (1, 1)}
    assert by_name(tmp_path / boxes, dataset.split("gallery")) == {CUHK[2]: (1, 2)}
    assert dataset.published_counts["gallery"] == gallery


def test_of_the_two_datasets_in_cuhk03_one_has_to_be_chosen(tmp_path):
    for boxes in ("labeled", "detected"):
        make_files(tmp_path / boxes, CUHK)
    with pytest.raises(InvalidDataset, match=f"Name one of them: {tmp_path}/labeled or {tmp_path}/detected"):
        open_dataset(tmp_path)


def test_the_raw_file_of_cuhk03_is_refused_with_what_to_do(tmp_path):
    make_files(tmp_path, ["README.md", "cuhk-03.mat"])
    for root in (tmp_path, tmp_path / "cuhk-03.mat"):
        with pytest.raises(InvalidDataset, match=r"cuhk-03\.mat: the raw HDF5 file .* is not read.*dataset\.csv"):
            open_dataset(root)


@pytest.mark.parametrize("version", [1, 2])
def test_msmt17(tmp_path, version):
    dataset = open_dataset(make_msmt(tmp_path, version))
    train, test = ("train", "test") if version == 1 else ("mask_train_v2", "mask_test_v2")
    # Identities count from 0 in the lists, and 0 is the distractor here.
    assert by_name(tmp_path, dataset.split("train")) == {
        f"{train}/0000/0000_000_01_0303morning_0008_0.jpg": (1, 1),
        f"{train}/0001/0001_003_15_0113noon_0408_1.jpg": (2, 15),
    }
    assert by_name(tmp_path, dataset.split("query")) == {f"{test}/0000/0000_001_03_0114afternoon_1035_2.jpg": (1, 3)}
    assert by_name(tmp_path, dataset.split("gallery")) == {
        f"{test}/0000/0000_002_14_0302morning_0245_0.jpg": (1, 14),
        f"{test}/0007/0007_000_01_0303morning_0017_2.jpg": (8, 1),
    }
    assert sum(dataset.published_counts.values()) == 126_441


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0000/0000_001_03_0114afternoon_1035_2.jpg", "expected a path and an identity"),
        ("0000/0000_001_03_0114afternoon_1035_2.jpg -1", "expected a path and an identity"),
        ("0000/0000_001_ab_0114afternoon_1035_2.jpg 0", "expected a path and an identity"),
        ("0000/0000_001.jpg 0", "expected a path and an identity"),
        ("/0000_001_03_0114afternoon_1035_2.jpg 0", "expected a path and an identity"),
        ("../0000_001_03_0114afternoon_1035_2.jpg 0", "expected a path and an identity"),
        ("0000/0000_009_03_0114afternoon_1035_2.jpg 0", "no such file"),
        ("0000/0000_002_14_0302morning_0245_0.jpg 0", "listed twice"),
    ],
)
def test_a_wrong_line_of_msmt17_is_named(tmp_path, line, says):
    make_msmt(tmp_path)
    with (tmp_path / "list_gallery.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(InvalidDataset, match=rf"list_gallery\.txt, line 4: .*{says}"):
        open_dataset(tmp_path).split("gallery")


def test_what_msmt17_lacks_is_named(tmp_path):
    make_msmt(tmp_path)
    (tmp_path / "list_val.txt").unlink()
    (tmp_path / "list_query.txt").write_text("\n")
    (tmp_path / "test").rename(tmp_path / "elsewhere")
    dataset = open_dataset(tmp_path)
    with pytest.raises(InvalidDataset, match=r"list_val\.txt: cannot be read"):
        dataset.split("train")
    with pytest.raises(InvalidDataset, match="no folder test or mask_test_v2"):
        dataset.split("query")
    (tmp_path / "elsewhere").rename(tmp_path / "test")
    with pytest.raises(InvalidDataset, match="no images in the query split"):
        dataset.split("query")


@given(st.integers(0, 4100), st.integers(0, 999), st.integers(1, 15), st.sampled_from(["0303morning", "0113noon", "x"]))
def test_a_line_of_msmt17_says_identity_and_camera(pid, image, camid, time):
    from qafm.datasets.msmt17 import _LINE

    name = f"{pid:04d}/{pid:04d}_{image:03d}_{camid:02d}_{time}_0008_0.jpg"
    match = _LINE.fullmatch(f"{name} {pid}")
    assert match is not None
    assert (match["path"], int(match["camid"]), int(match["pid"])) == (name, camid, pid)


def test_what_is_drawn_is_a_market_1501_with_attributes_and_degradations(tmp_path):
    recipe = Recipe(train_identities=2, test_identities=1, images_per_identity=2, distractors=1, junk=1)
    make_dataset(recipe, tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.attributes("train").keys() == set(dataset.identities("train")) == {1, 2}
    assert dataset.attributes("query").keys() == dataset.attributes("gallery").keys() == {3}
    crops = [crop for split in ("train", "query", "gallery") for crop in dataset.split(split)]
    assert (dataset.degradations() or {}).keys() == {dataset.relative(crop) for crop in crops}


def test_any_layout_may_have_degradations(tmp_path):
    dataset = open_dataset(make_files(tmp_path, DUKE))
    write_degradations(tmp_path / "degradations.json", {DUKE[1]: Degradation("blur", 0.5)})
    assert dataset.degradations() == {DUKE[1]: Degradation("blur", 0.5)}


def test_the_examples_of_the_document_are_read(tmp_path):
    text = (Path(__file__).parents[3] / "docs/datasets.md").read_text()
    make_files(tmp_path / "csv", [f"images/{name}.jpg" for name in ("anna-1", "anna-2", "bob-1")])
    (table,) = re.findall(r"```\n(path,pid,camid,split\n.*?)```", text, re.DOTALL)
    (tmp_path / "csv/dataset.csv").write_text(table)
    assert len(open_dataset(tmp_path / "csv").split("gallery")) == 2

    in_folders, by_group = re.findall(r"--name-pattern '(.+)'", text)
    make_files(tmp_path / "folders", ["query/anna_1.jpg", "gallery/anna_2.jpg", "gallery/monday/bob_1.png"])
    dataset = open_dataset(tmp_path / "folders", in_folders)
    assert [(crop.pid, crop.camid) for crop in dataset.split("gallery")] == [(1, 2), (2, 1)]
    make_files(tmp_path / "group", ["query-anna-cam1-x.jpg", "gallery-anna-cam2-y.jpg"])
    dataset = open_dataset(tmp_path / "group", by_group)
    assert [(crop.pid, crop.camid) for crop in dataset.split("query")] == [(1, 1)]

    (recorded,) = re.findall(r'```\n(\{\n "version".*?)```', text, re.DOTALL)
    (tmp_path / "group/degradations.json").write_text(recorded)
    assert len(dataset.degradations() or {}) == 2
