"""Mixed precision."""

from __future__ import annotations

import torch

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Convolutions and products in `precision`; "float32" leaves everything as it is."""
    enabled = precision != "float32"
    return torch.autocast(device.type, dtype=_TYPES.get(precision, torch.bfloat16), enabled=enabled)
