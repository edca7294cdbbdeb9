"""Attributes in the words of people; `qafm.attributes.SCHEMA` has the names that tensors and files use."""

from __future__ import annotations

TITLES = {
    "gender": "Gender",
    "hair": "Hair",
    "up": "Sleeves",
    "down": "Trousers or skirt",
    "clothes": "Kind of lower clothes",
    "hat": "Hat",
    "backpack": "Backpack",
    "bag": "Bag on the shoulder",
    "handbag": "Handbag in the hand",
    "age": "Age",
    "upcolour": "Colour above the waist",
    "downcolour": "Colour below the waist",
}
