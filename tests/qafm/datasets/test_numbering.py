from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.crops import Crop
from qafm.datasets.numbering import NamedImage, number_camids, number_pids, numbered

TEXTS = st.lists(st.text(min_size=1, max_size=3) | st.sampled_from(["-1", "0", "0000", "1", "10", "2"]), min_size=1)


def place(text: str, texts: list[str]) -> int:
    """From 1: how many different texts come before this one."""
    before = []
    for other in texts:
        if other < text and other not in before:
            before.append(other)
    return len(before) + 1


@given(TEXTS)
def test_a_pid_is_the_place_of_its_text_among_all_of_them(texts):
    pids = number_pids(texts)
    people = [text for text in texts if text != "-1"]
    assert [pids[text] for text in texts] == [-1 if text == "-1" else place(text, people) for text in texts]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1))
def test_a_camid_is_the_place_of_its_text_unless_all_are_numbers(texts):
    camids = number_camids(texts)
    digits = set("0123456789")
    if all(set(text) <= digits for text in texts):
        assert camids == {text: int(text) for text in texts}
    else:
        assert camids == {text: place(text, texts) for text in texts}


def test_by_hand():
    assert number_pids(["bob", "10", "2", "-1", "0000", "bob"]) == {"-1": -1, "0000": 1, "10": 2, "2": 3, "bob": 4}
    assert number_camids(["03", "3", "12"]) == {"03": 3, "3": 3, "12": 12}
    assert number_camids(["3", "12", "door"]) == {"12": 1, "3": 2, "door": 3}
    assert number_camids(["1", "9" * 19]) == {"1": 1, "9" * 19: 2}  # it would not fit into int64
    assert number_camids(["1", "²"]) == {"1": 1, "²": 2}  # a digit to Python, and no number


def test_images_without_a_camera_are_cameras_of_their_own():
    images = [NamedImage(Path(name), "a", None) for name in ("x", "y", "z")]
    assert numbered(images) == [Crop(Path("x"), 1, 1), Crop(Path("y"), 1, 2), Crop(Path("z"), 1, 3)]
