"""Mixed precision."""

from __future__ import annotations

import torch

from qafm.errors import InvalidSettings
from train.settings import Precision

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def require_precision(precision: Precision, device: torch.device) -> None:
    """Raises InvalidSettings for float16 without a GPU."""
    if precision == "float16" and device.type == "cpu":
        raise InvalidSettings("precision float16: expected a GPU, got none; on a CPU use bfloat16 or float32")


def usable_precision(precision: Precision, device: torch.device, *, bfloat16: bool | None = None) -> Precision:
    """What to train in: float16, whose loss is scaled, in place of bfloat16 on a GPU that has none in hardware.

    bfloat16: whether the GPU has it; None: ask the driver.
    """
    if precision != "bfloat16" or device.type != "cuda":
        return precision
    has_it = torch.cuda.is_bf16_supported(including_emulation=False) if bfloat16 is None else bfloat16
    return "bfloat16" if has_it else "float16"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Convolutions and products in 16 bits; "float32" leaves everything as it is."""
    return torch.autocast(device.type, dtype=_HALF.get(precision), enabled=precision in _HALF)


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Keeps the small gradients of float16 from vanishing, and drops a step whose gradients overflow.

    The other precisions need no scaling: for them it does nothing.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
