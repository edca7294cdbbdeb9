from __future__ import annotations

import pytest
import torch

from train.precision import gradient_scaler, usable_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "bfloat16", "expected"),
    [
        ("bfloat16", GPU, True, "bfloat16"),
        ("bfloat16", GPU, False, "float16"),
        ("bfloat16", CPU, None, "bfloat16"),
        ("float32", GPU, False, "float32"),
        ("float16", GPU, True, "float16"),
    ],
)
def test_a_gpu_without_bfloat16_trains_in_float16(asked, device, bfloat16, expected):
    assert usable_precision(asked, device, bfloat16=bfloat16) == expected


def test_only_float16_scales_its_loss():
    assert gradient_scaler("float16", CPU).is_enabled() and not gradient_scaler("bfloat16", CPU).is_enabled()
