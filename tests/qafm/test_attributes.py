from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from qafm.attributes import MISSING, SCHEMA, predicted
from qafm.contract import ATTRIBUTE_SIZE
from qafm.datasets.attribute_file import read_attributes, require_attributes, write_attributes
from qafm.errors import InvalidDataset

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "market_attribute.mat"
UP, DOWN = len(SCHEMA) - 2, len(SCHEMA) - 1


def labels_of(seed: int, count: int, first: int = 1) -> dict[int, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = np.stack([generator.integers(0, len(a.values), count) for a in SCHEMA], axis=1)
    values[generator.random(count) < 0.3, UP] = MISSING
    return {first + row: values[row].astype(np.int8) for row in range(count)}


def test_the_schema_fills_the_tensor():
    columns = [column for a in SCHEMA for column in range(a.columns.start, a.columns.stop)]
    assert columns == list(range(ATTRIBUTE_SIZE))
    assert len(SCHEMA) == 12 and sum(a.binary for a in SCHEMA) == 9
    assert [len(a.values) for a in SCHEMA if not a.binary] == [4, 8, 9]


@given(st.integers(0, 999), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, seed, count):
    path = tmp_path_factory.mktemp("attributes") / "market_attribute.mat"
    train, test = labels_of(seed, count), labels_of(seed + 1, count + 1, first=500)
    write_attributes(path, train, test)
    for split, written in (("train", train), ("test", test)):
        read = read_attributes(path, split)
        assert list(read) == sorted(written)
        assert all((read[pid] == written[pid]).all() for pid in written)


def test_fields_are_read_by_name_not_by_place(tmp_path):
    path = tmp_path / "market_attribute.mat"
    write_attributes(path, labels_of(0, 3), labels_of(1, 3))
    before = read_attributes(path, "train")
    from scipy.io import loadmat

    table = loadmat(path)["market_attribute"]["train"][0, 0][0, 0]
    backwards = {name: table[name] for name in reversed(table.dtype.names)}
    savemat(path, {"market_attribute": {"train": backwards, "test": backwards}})
    after = read_attributes(path, "train")
    assert all((before[pid] == after[pid]).all() for pid in before)


def test_the_published_file():
    if not PUBLISHED.is_file():
        pytest.skip("the published market_attribute.mat is not beside the checkout (shared/data)")
    train, test = (np.stack(list(read_attributes(PUBLISHED, split).values())) for split in ("train", "test"))
    assert (len(train), len(test)) == (751, 750)
    assert ((train[:, UP] == MISSING).sum(), (test[:, UP] == MISSING).sum()) == (78, 69)
    assert ((train[:, DOWN] == MISSING).sum(), (test[:, DOWN] == MISSING).sum()) == (30, 44)
    assert not (train[:, :UP] == MISSING).any()
    pids = list(read_attributes(PUBLISHED, "train"))
    assert pids[:3] == [2, 7, 10] and read_attributes(PUBLISHED, "train")[2][-1] == 6  # blue trousers


def test_an_identity_without_attributes_is_named():
    with pytest.raises(InvalidDataset, match=r"some\.mat: no attributes for 2 .* 0017, 0042"):
        require_attributes(labels_of(0, 3), [1, 42, 17, 2, 42], Path("some.mat"))
    assert require_attributes(labels_of(0, 3), [3, 1], Path("some.mat")).shape == (2, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split.pop("hat"), "lacks the field.* hat"),
        (
            lambda split: split.update(gender=np.array([[3, 1]], np.uint8)),
            "gender .* expected 2 values from 1 to 2",
        ),
        (lambda split: split.update(age=np.array([[1]], np.uint8)), "age has shape"),
        (lambda split: split.update(upred=np.array([[2, 2]]), upblue=np.array([[1, 2]])), "two upcolour"),
    ],
)
def test_a_malformed_file_is_refused_by_field(tmp_path, change, message):
    path = tmp_path / "market_attribute.mat"
    write_attributes(path, labels_of(0, 2), labels_of(0, 2))
    from scipy.io import loadmat

    table = loadmat(path)["market_attribute"]["train"][0, 0][0, 0]
    split = {name: table[name] for name in table.dtype.names}
    if "upred" in message or "two" in message:
        for name in [name for name in split if name.startswith("up") and name != "up"]:
            split[name] = np.array([[1, 1]], np.uint8)
    change(split)
    savemat(path, {"market_attribute": {"train": split, "test": split}})
    with pytest.raises(InvalidDataset, match=message):
        read_attributes(path, "train")


@pytest.mark.parametrize("content", [None, b"", b"nothing like a MATLAB file" * 20])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, content):
    path = tmp_path / "market_attribute.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidDataset, match="market_attribute.mat"):
        read_attributes(path, "train")


def test_predicted_by_hand():
    probabilities = np.zeros((1, ATTRIBUTE_SIZE), np.float32)
    probabilities[0, 0] = 0.9  # female
    probabilities[0, SCHEMA[9].start + 2] = 0.6  # adult
    probabilities[0, SCHEMA[UP].start + 6] = 0.5  # blue
    values = dict(zip([a.name for a in SCHEMA], predicted(probabilities)[0].tolist(), strict=True))
    assert (values["gender"], values["hat"], values["age"], values["upcolour"]) == (1, 0, 2, 6)
