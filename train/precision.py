"""Mixed precision."""

from __future__ import annotations

import torch


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Convolutions and products in bfloat16, which needs no loss scaling; "float32" leaves everything as it is."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
