"""What a server says of one image: the one table from which descriptions, journals and descriptor files derive."""

from __future__ import annotations

from dataclasses import dataclass

from qafm.contract import (
    ALPHA,
    ATTRIBUTES,
    DESCRIPTOR,
    IDENTIFIABILITY,
    SCATTER,
    SEMANTIC,
    UTILITY,
    VISUAL,
    Tensor,
)


@dataclass(frozen=True)
class Field:
    """One entry of the record.

    name: of the field, in a description and in the journal. tensor: the output of the server that has it. array: the
    name of the array [N, *shape] in a descriptor file.
    """

    name: str
    tensor: Tensor
    array: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's value; () where the tensor has one number."""
        return () if self.tensor.dims == (1,) else self.tensor.dims


RECORD = (
    Field("descriptor", DESCRIPTOR, "descriptors"),
    Field("alpha", ALPHA, "alpha"),
    Field("identifiability", IDENTIFIABILITY, "identifiability"),
    Field("scatter", SCATTER, "scatter"),
    Field("utility", UTILITY, "utility"),
    Field("visual", VISUAL, "visual"),
    Field("semantic", SEMANTIC, "semantic"),
    Field("attribute_probabilities", ATTRIBUTES, "attributes"),
)
"""Every field is float32. All but the descriptor may be missing: not every server and every ensemble gives them."""
