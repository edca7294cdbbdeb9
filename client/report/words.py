"""Attributes and signals of quality in the words of people; tensors and files have names of their own."""

from __future__ import annotations

TITLES = {
    "gender": "Gender",
    "hair": "Hair",
    "up": "Sleeves",
    "down": "Length of trousers or skirt",
    "clothes": "Kind of lower clothes",
    "hat": "Hat",
    "backpack": "Backpack",
    "bag": "Bag on the shoulder",
    "handbag": "Handbag in the hand",
    "age": "Age",
    "upcolour": "Colour above the waist",
    "downcolour": "Colour below the waist",
}

SIGNALS = {
    "utility": ("utility", 1),
    "identifiability": ("Q", -1),
    "scatter": ("mean distance of the views", -1),
}
"""By the name that `qafm.retrieval.discard.quality_signals` has: what it is called, and the sign that gives back the
number which the server gives."""
