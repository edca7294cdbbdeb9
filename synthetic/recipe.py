"""What to draw: the world, how many of everything, and the seed."""

from __future__ import annotations

from dataclasses import dataclass

from qafm.errors import InvalidSettings
from synthetic.worlds import WORLDS


@dataclass(frozen=True)
class Recipe:
    """A synthetic dataset. The same recipe always gives bitwise the same files.

    images_per_identity and gallery_per_identity are means, of the training split and of the gallery's known
    identities (`None`: the same as in training). cameras_per_identity is the mean number of cameras that see
    an identity, and with it the number of its queries. degraded is the fraction of images that are blurred,
    coarse, noisy, dark or covered. lookalikes is the fraction of identities that share all attributes with
    another one. world is a name in `WORLDS`.
    Raises InvalidSettings for a value out of range.
    """

    seed: int = 0
    train_identities: int = 100
    test_identities: int = 40
    images_per_identity: float = 12.0
    gallery_per_identity: float | None = None
    cameras_per_identity: float = 3368 / 750
    distractors: int = 60
    junk: int = 60
    degraded: float = 0.5
    lookalikes: float = 0.5
    world: str = "first"

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise InvalidSettings(f"world: expected one of {', '.join(WORLDS)}, got {self.world}")
        for name, low, high in (
            ("seed", 0, 2**63 - 1),
            ("train_identities", 1, 9999),
            ("test_identities", 1, 9999 - self.train_identities),
            ("images_per_identity", 2, 10_000),
            ("gallery_per_identity", 2, 10_000),
            ("cameras_per_identity", 2, len(WORLDS[self.world].cameras)),
            ("distractors", 0, 10**6),
            ("junk", 0, 10**6),
            ("degraded", 0, 1),
            ("lookalikes", 0, 1),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidSettings(f"{name}: expected {low} to {high}, got {value}")

    @property
    def train_images(self) -> int:
        return round(self.train_identities * self.images_per_identity)

    @property
    def gallery_images(self) -> int:
        """Images of known identities in the gallery: without distractors and junk."""
        per_identity = self.gallery_per_identity
        return round(self.test_identities * (self.images_per_identity if per_identity is None else per_identity))

    @property
    def queries(self) -> int:
        return round(self.test_identities * self.cameras_per_identity)


FULL_SIZE = Recipe(
    train_identities=751,
    test_identities=750,
    images_per_identity=12_936 / 751,
    gallery_per_identity=(19_732 - 3_819 - 2_798) / 750,
    cameras_per_identity=3_368 / 750,
    distractors=2_798,
    junk=3_819,
)
"""Exactly as many images and identities as the published dataset has."""

STUDY = Recipe(
    train_identities=900,
    test_identities=800,
    images_per_identity=5,
    gallery_per_identity=4,
    cameras_per_identity=3,
    distractors=300,
    junk=100,
)
"""To compare methods: many people and few images of each, 2,400 queries, so that a small difference can be told."""

SIZES = {"default": Recipe(), "study": STUDY, "full": FULL_SIZE}
"""The sizes that have a name."""
