"""What the Python models of a model repository share."""

# Repositories are exported with their models' code, and outlive a version: this is where older ones find it.
from qafm.serving.responses import respond

__all__ = ["respond"]
