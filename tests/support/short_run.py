"""Settings with which all three stages run in seconds, on a handful of people."""

from __future__ import annotations

from rich.console import Console

from train.presets import load_preset

EPOCHS = {"epochs": 2, "warmup_epochs": 0, "small_epochs": 2}
SETTINGS = load_preset(
    "demo",
    identities_per_batch=2,
    images_per_identity=2,
    precision="float32",
    workers=0,
    iqa=EPOCHS,
    apan=EPOCHS,
    joint=EPOCHS | {"q_crops": 6},
    lessons={"crops": 6, "copies": 2},
    quality={"pictures": 0},
)
QUIET = Console(quiet=True)
