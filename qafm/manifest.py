"""The identity of a model: what is served, and a name for it that nobody can mistake for another's.

Each ensemble of a repository has a fingerprint: a hash of the digests of the models that it is made of, and of the
names of its tensors. The digest of a network is that of its graph, of `alpha` that of the weighting's arrays, and of
`views` that of the views of one drawn picture. Optional models that an ensemble does not use do not change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qafm.contract import APAN, ENSEMBLES, MODELS
from qafm.errors import ContractMismatch

FORMAT = 2
"""Format 1, or a manifest without a number, has no fingerprints: there the whole manifest identifies each ensemble."""

# Crockford's base 32: no letter that is read as another one or as a digit.
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_GROUPS = 2
_GROUP_LETTERS = 4


@dataclass(frozen=True)
class Manifest:
    """What a repository serves, as its export wrote it.

    content: all of it, as JSON has it. fingerprints: by ensemble, such as "k7m2-9xqd".
    """

    content: Mapping[str, Any]
    fingerprints: Mapping[str, str]

    @classmethod
    def of(cls, digests: Mapping[str, str], tensors: Mapping[str, Iterable[str]], about: Mapping[str, Any]) -> Manifest:
        """The manifest of an export.

        digests: of each model by name, in hexadecimal. tensors: by ensemble, the names of its inputs and outputs.
        about: what else to say, as JSON.
        """
        fingerprints = {name: fingerprint(name, digests, names) for name, names in tensors.items()}
        content = {"format": FORMAT, "fingerprints": fingerprints, "digests": dict(digests), **about}
        return cls(content, fingerprints)

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read the JSON of a manifest. Raises ContractMismatch for anything else, and for a newer format."""
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ContractMismatch(f"expected a manifest, a JSON object, got {text[:60]!r}" if text else "no manifest")
        number = content.get("format", 1)
        if number == 1:
            whole = _short(hashlib.sha256(json.dumps(content, sort_keys=True).encode()))
            return cls(content, dict.fromkeys(ENSEMBLES, whole))
        fingerprints = content.get("fingerprints")
        if number != FORMAT or not isinstance(fingerprints, dict):
            raise ContractMismatch(
                f"expected a manifest of format 1 to {FORMAT}, got {number!r}; it was written by a newer version of "
                "this project: use that version here too"
            )
        return cls(content, fingerprints)

    def json(self) -> str:
        """As it travels with the models."""
        return json.dumps(self.content)

    @property
    def taught(self) -> tuple[str, ...] | None:
        """The names of the attributes that the model learnt; None where it does not say, which was all of them."""
        origin = self.content.get("origin")
        data = origin.get("data") if isinstance(origin, dict) else None
        names = data.get("attributes") if isinstance(data, dict) else None
        return tuple(map(str, names)) if isinstance(names, list) else None

    def model(self, ensemble: str, alpha: float | None = None) -> str:
        """The name of what makes a descriptor: `FINGERPRINT/ENSEMBLE`, and `@ALPHA` where α was given.

        Descriptors of two names that differ are not comparable. Raises ContractMismatch for an ensemble that is not
        in the manifest.
        """
        if ensemble not in self.fingerprints:
            raise ContractMismatch(
                f"the manifest has no fingerprint of {ensemble!r}; it has those of "
                f"{', '.join(self.fingerprints) or 'none'}. Export the models again",
                model=ensemble,
            )
        name = f"{self.fingerprints[ensemble]}/{ensemble}"
        # As few digits as tell the float32 that is sent from every other one.
        return name if alpha is None else f"{name}@{np.format_float_positional(np.float32(alpha), trim='-')}"

    def asked(self, model: str | None) -> tuple[str, float | None] | None:
        """The ensemble, and α where it was given, that `model` gives this name; None for a name of other models."""
        name, at, alpha = (model or "").partition("@")
        _, _, ensemble = name.partition("/")
        try:
            found = ensemble, float(alpha) if at else None
            return found if self.model(*found) == model else None
        except (ContractMismatch, ValueError):
            return None


def fingerprint(ensemble: str, digests: Mapping[str, str], tensors: Iterable[str]) -> str:
    """The fingerprint of an ensemble of the contract: eight letters and digits, short enough to read aloud.

    digests: at least of the models that the ensemble is made of, as far as the repository has them. tensors: the names
    of its inputs and outputs, in any order.
    """
    parts = {name: digests[name] for name in sorted(MODELS[ensemble].parts) if name != APAN or name in digests}
    return _short(hashlib.sha256(json.dumps([parts, sorted(tensors)]).encode()))


def digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by name, in hexadecimal: of their names, types, shapes and values, in whatever order."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(
            f"{name} {values.dtype.str} {list(values.shape)}\n".encode() + np.ascontiguousarray(values).tobytes()
        )
    return digest.hexdigest()


def _short(digest: Any) -> str:
    bits = int.from_bytes(digest.digest(), "big") >> 8 * digest.digest_size - 5 * _GROUPS * _GROUP_LETTERS
    places = range(_GROUPS * _GROUP_LETTERS - 1, -1, -1)
    letters = "".join(_LETTERS[bits >> 5 * place & 31] for place in places)
    return "-".join(letters[start : start + _GROUP_LETTERS] for start in range(0, len(letters), _GROUP_LETTERS))
