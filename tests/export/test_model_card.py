"""The card says what the manifest knows, and no more."""

from __future__ import annotations

from export.model_card import USE_AND_LIMITS, model_card
from qafm.manifest import Manifest


def manifest(**changes):
    content = {
        "exported": "2026-01-02T03:04:05+00:00",
        "origin": {
            "run": "market",
            "settings": {"weights": "imagenet", "seed": 3},
            "data": {"format": 2, "name": "Market-1501", "held_out_identities": 75, "sha256": "00"},
        },
        "graphs": {"apn": {"precision": "float32"}, "iqa": {"precision": "int8"}},
        "differences": {"DESCRIPTOR": {"measured": 2.5e-7, "allowed": 1e-4}},
        "weighting": {"kind": "constant", "alpha": 0.5625},
        "quality": None,
    }
    return Manifest(content | changes, {"qafm": "k7m2-9xqd", "qafm_fixed_alpha": "aaaa-bbbb"})


def test_it_says_which_model_it_is_and_where_from():
    card = model_card(manifest())
    assert card.startswith("# Model card: k7m2-9xqd/qafm, aaaa-bbbb/qafm_fixed_alpha\n")
    for words in (
        *(
            "- run: market\n",
            "- first weights: imagenet\n",
            "- seed: 3\n",
            "- training data: name: Market-1501, held out identities: 75\n",
        ),
        *("apn in float32, iqa in int8", "2e-07 at most, of 0.0001", "constant, 0.562 for every picture"),
    ):
        assert words in card, words
    assert USE_AND_LIMITS.read_text() in card
    assert "Quality: not checked. Do not rely on UTILITY or Q." in card


def test_what_misleads_stands_out_and_what_pays_is_told():
    told = {"n": 60, "spearman": {"utility": 0.5, "identifiability": -0.9}}
    curve = {"area": 0.02, "interval": [0.01, 0.03]}
    quality = {"darkness": told, "discard": {"utility": curve, "identifiability": {"area": 0, "interval": [-0.1, 0.1]}}}
    card = model_card(manifest(quality=quality))
    assert "that utility calls the worst gains: +2.0 points of mAP (+1.0 to +3.0)" in card
    assert "that identifiability calls the worst neither gains nor loses, beyond chance" in card
    assert "- **Identifiability says that pictures get better as they get worse by darkness" in card
    assert "Utility says that pictures" not in card


def test_a_manifest_that_knows_little_has_a_card_too():
    card = model_card(manifest(origin={"run": "seeded, untrained"}, weighting={"kind": "paper", "mu": 1.0}))
    assert "- run: seeded, untrained\n\n## What it is for" in card and "- α: paper.\n" in card
