from __future__ import annotations

import dataclasses

import numpy as np

from client import ReidClient, SyncReidClient
from client.description import Description
from client.testing import made_up
from qafm.attributes import SCHEMA


def test_attributes_read_as_words():
    probabilities = np.zeros(30, dtype=np.float32)
    probabilities[0] = 0.93  # gender, of its second value
    probabilities[1] = 0.2  # hair
    probabilities[9:13] = [0.1, 0.2, 0.6, 0.1]  # age
    probabilities[-1] = 0.5  # brown
    nothing = np.zeros(1, dtype=np.float32)
    description = Description(nothing, 0.5, 12.0, nothing, nothing, probabilities)
    found = description.attributes
    assert list(found) == [attribute.name for attribute in SCHEMA]
    assert str(found["gender"]) == "gender: female 0.93"
    assert str(found["hair"]) == "hair: short 0.80"
    assert str(found["age"]) == "age: adult 0.60"
    assert str(found["downcolour"]) == "downcolour: brown 0.50"
    summary = description.summary()
    assert (summary["alpha"], summary["identifiability"]) == (0.5, 12.0)
    assert summary["attributes"]["hat"] == {"value": "no", "probability": 1.0}


def test_it_fits_a_line():
    description = dataclasses.replace(made_up(b"somebody"), utility=0.625, alpha=0.75, model="k7m2-9xqd/qafm")
    assert repr(description).startswith("<Description by k7m2-9xqd/qafm: gender: ")
    assert repr(description).endswith(", alpha 0.750, utility 0.62>") and len(repr(description)) < 100
    assert "utility" not in repr(dataclasses.replace(description, utility=None))
    assert repr(ReidClient("host:8001")) == "<ReidClient of host:8001, not connected>"
    assert repr(SyncReidClient("host:8001")) == "<SyncReidClient of host:8001, not connected>"


def test_only_what_the_model_learnt_is_told():
    whole = made_up(b"1")
    assert len(whole.attributes) == 12
    some = dataclasses.replace(whole, taught=("age", "gender"))
    assert some.attributes.keys() == {"gender", "age"} and "gender" in repr(some)
    assert some.attributes["age"] == whole.attributes["age"]
    assert "gender" not in repr(dataclasses.replace(whole, taught=("age",)))
    assert dataclasses.replace(whole, attribute_probabilities=None).attributes == {}
