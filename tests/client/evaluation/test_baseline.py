from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from client.evaluation.baseline import colour_histogram, describe_by_colour
from qafm.retrieval.descriptors import Descriptors


def naive_histogram(pixels: np.ndarray) -> list[float]:
    height, width, _ = pixels.shape
    counts = [0] * (6 * 8 * 8 * 8)
    for row in range(height):
        for column in range(width):
            red, green, blue = (int(value) // 32 for value in pixels[row, column])
            stripe = row * 6 // height
            counts[stripe * 512 + red * 64 + green * 8 + blue] += 1
    return [math.sqrt(count / (height * width)) for count in counts]


@pytest.mark.parametrize("height", [4, 6, 25])
def test_histograms_are_those_of_the_loop(height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, 7, 3), dtype=np.uint8)
    found = colour_histogram(pixels)
    np.testing.assert_allclose(found, naive_histogram(pixels), rtol=1e-6)
    assert np.linalg.norm(found) == pytest.approx(1)


def test_one_colour_by_hand():
    found = colour_histogram(np.full((12, 5, 3), (255, 32, 0), dtype=np.uint8))
    assert np.flatnonzero(found).tolist() == [stripe * 512 + 7 * 64 + 1 * 8 for stripe in range(6)]
    assert found[found > 0] == pytest.approx(math.sqrt(1 / 6))


def test_the_images_of_a_set_are_described_in_its_order(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        content = io.BytesIO()
        Image.new("RGB", (6, 12), colour).save(content, "PNG")
        (tmp_path / name).write_bytes(content.getvalue())
    images = Descriptors(np.zeros((2, 1), np.float32), np.array([3, 4]), np.array([1, 2]), np.array(["b", "a"]))
    steps = []
    found = describe_by_colour(tmp_path, images, lambda: steps.append(1))
    assert found.descriptors[:, 7].tolist() == pytest.approx([math.sqrt(1 / 6), 0])  # blue
    assert found.pids.tolist() == [3, 4]
    assert len(steps) == 2
