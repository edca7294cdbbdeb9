from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.contract import ENSEMBLES, MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.drawn_picture import digest_of_views, drawn_picture
from qafm.errors import ContractMismatch
from qafm.manifest import FORMAT, Manifest, digest_of_arrays, fingerprint
from qafm.perturbations import views

DIGESTS = {name: hashlib.sha256(name.encode()).hexdigest() for name in MODELS if not MODELS[name].parts}
TENSORS = {name: [tensor.name for tensor in (*MODELS[name].inputs, *MODELS[name].outputs)] for name in ENSEMBLES}


def test_a_fingerprint_is_short_and_has_no_letter_that_is_read_as_another():
    code = fingerprint(QAFM, DIGESTS, TENSORS[QAFM])
    assert len(code) == 9 and code[4] == "-"
    assert not set(code) & set("ilou") and code == code.lower()
    parts = {name: DIGESTS[name] for name in sorted(MODELS[QAFM].parts)}
    digest = hashlib.sha256(json.dumps([parts, sorted(TENSORS[QAFM])]).encode()).digest()
    first_bits = "".join(f"{byte:08b}" for byte in digest)[:40]
    letters = ["0123456789abcdefghjkmnpqrstvwxyz"[int(first_bits[at : at + 5], 2)] for at in range(0, 40, 5)]
    assert code == "".join(letters[:4]) + "-" + "".join(letters[4:])
    assert code == fingerprint(QAFM, dict(reversed(DIGESTS.items())), reversed(TENSORS[QAFM]))


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("changed", sorted(DIGESTS))
def test_it_changes_with_the_models_that_the_ensemble_is_made_of_and_no_other(ensemble, changed):
    before = fingerprint(ensemble, DIGESTS, TENSORS[ensemble])
    after = fingerprint(ensemble, DIGESTS | {changed: "0" * 64}, TENSORS[ensemble])
    assert (before != after) == (changed in MODELS[ensemble].parts)


def test_it_changes_with_a_tensor_and_not_with_an_optional_model():
    assert fingerprint(QAFM, DIGESTS, [*TENSORS[QAFM], "SCATTER"]) != fingerprint(QAFM, DIGESTS, TENSORS[QAFM])
    without = {name: digest for name, digest in DIGESTS.items() if name != "quality"}
    more = {**TENSORS, QAFM_FAST: TENSORS[QAFM]}
    small, large = Manifest.of(without, TENSORS, {}), Manifest.of(DIGESTS, more, {})
    assert all(small.fingerprints[name] == large.fingerprints[name] for name in ENSEMBLES)
    assert QAFM_FAST in large.fingerprints


def test_what_was_written_is_read():
    written = Manifest.of(DIGESTS, TENSORS, {"origin": {"run": "demo"}})
    assert Manifest.parse(written.json()) == written
    assert written.content["format"] == FORMAT and written.content["origin"] == {"run": "demo"}


def test_a_name_says_the_ensemble_and_a_weight_that_was_given():
    manifest = Manifest.of(DIGESTS, TENSORS, {})
    code = manifest.fingerprints[QAFM_FIXED_ALPHA]
    close = [manifest.model(QAFM_FIXED_ALPHA, alpha) for alpha in (0.1234567, 0.1234568, 1, 0.1)]
    assert [name.split("@")[1] for name in close] == ["0.1234567", "0.1234568", "1", "0.1"]
    assert manifest.model(QAFM_FIXED_ALPHA, 0.5) == f"{code}/qafm_fixed_alpha@0.5"
    assert manifest.model(QAFM) == f"{manifest.fingerprints[QAFM]}/qafm"
    with pytest.raises(ContractMismatch, match="qafm_fast"):
        manifest.model(QAFM_FAST)


@given(st.sampled_from(ENSEMBLES), st.floats(0, 1))
def test_a_name_says_what_to_ask_for_it_again(ensemble, alpha):
    manifest = Manifest.of(DIGESTS, TENSORS, {})
    given_alpha = alpha if ensemble == QAFM_FIXED_ALPHA else None
    name = manifest.model(ensemble, given_alpha)
    assert manifest.model(*manifest.asked(name)) == name and manifest.asked(name)[0] == ensemble


@pytest.mark.parametrize(
    "name", [None, "", "qafm", "heron/qafm", "{code}/qafm_fast", "{code}/iqa", "{code}/qafm@half", "x {code}/qafm"]
)
def test_nothing_is_to_be_asked_for_the_name_of_another_model(name):
    manifest = Manifest.of(DIGESTS, TENSORS, {})
    assert manifest.asked(name and name.format(code=manifest.fingerprints[QAFM])) is None
    assert manifest.asked(f"{manifest.fingerprints[QAFM]}/qafm") == (QAFM, None)


FIRST_FORMAT = {
    "format": 1,
    "exported": "2026-11-22T10:00:00+00:00",
    "origin": {"run": "demo", "settings": {"weights": "none"}, "checkpoints": {"iqa.pt": "aa"}},
    "graphs": {"apn": {"precision": "float32", "sha256": "ab"}},
    "mu": 11.0,
    "sigma": 0.6,
}


def test_a_manifest_of_format_1_is_identified_as_a_whole():
    one, same = (
        Manifest.parse(json.dumps(content)) for content in (FIRST_FORMAT, dict(reversed(FIRST_FORMAT.items())))
    )
    other = Manifest.parse(json.dumps(FIRST_FORMAT | {"mu": 12.0}))
    assert one.model(QAFM) == same.model(QAFM) != other.model(QAFM)
    assert one.content == FIRST_FORMAT


def test_a_newer_manifest_is_refused_with_a_sentence():
    with pytest.raises(ContractMismatch, match="newer version"):
        Manifest.parse(json.dumps({"format": FORMAT + 1, "fingerprints": {}}))


@given(st.one_of(st.text(), st.sampled_from(['{"format": 2}', '{"format": "2"}', "[1]", "null", '{"format": null}'])))
def test_what_is_no_manifest_is_refused_with_a_sentence(text):
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or "format" in content:
        with pytest.raises(ContractMismatch, match="manifest"):
            Manifest.parse(text)


def test_arrays_are_told_apart_by_name_type_shape_and_value():
    arrays = {"a": np.zeros(4, np.float32), "b": np.ones(2)}
    others = (
        {"a": np.zeros(4), "b": arrays["b"]},
        {"a": np.zeros((2, 2), np.float32), "b": arrays["b"]},
        {"c": arrays["a"], "b": arrays["b"]},
        {"a": arrays["a"], "b": np.array([1, 2.0])},
    )
    assert digest_of_arrays(arrays) == digest_of_arrays(dict(reversed(arrays.items())))
    assert len({digest_of_arrays(each) for each in (arrays, *others)}) == 5


def test_the_drawn_picture_has_views_that_differ():
    picture = drawn_picture()
    assert picture.shape == (128, 64, 3) and picture.dtype == np.uint8 and np.ptp(picture) > 200
    assert len({view.tobytes() for view in views(picture)}) == 35
    assert digest_of_views() == hashlib.sha256(views(picture).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "taught"),
    [
        ({}, None),
        ({"origin": {"data": {"attributes": ["gender", "bag"]}}}, ("gender", "bag")),
        ({"origin": {"data": {"attributes": []}}}, ()),
        ({"origin": {"data": {}}}, None),
        ({"origin": "elsewhere"}, None),
        ({"origin": {"data": {"attributes": 3}}}, None),
    ],
)
def test_it_says_which_attributes_were_learnt(content, taught):
    assert Manifest.parse(json.dumps(content | {"format": 2, "fingerprints": {}})).taught == taught
