"""Describe people with a QAFM server, and evaluate it.

    async with ReidClient("127.0.0.1:8001") as client:
        description = await client.describe("crop.jpg")
        print(description.attributes["gender"])     # gender: female 0.93

SyncReidClient does the same without `async`. Every error is a `qafm.errors.QafmError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.description import AttributeValue, Description
    from client.images import crops_of
    from client.pooling import best_shot, pool
    from client.quality import complaint, rating
    from client.reid import ReidClient
    from client.sync import SyncReidClient

__all__ = [
    "AttributeValue",
    "Description",
    "ReidClient",
    "SyncReidClient",
    "best_shot",
    "complaint",
    "crops_of",
    "pool",
    "rating",
]

_MODULES = {
    "AttributeValue": "client.description",
    "Description": "client.description",
    "ReidClient": "client.reid",
    "SyncReidClient": "client.sync",
    "best_shot": "client.pooling",
    "complaint": "client.quality",
    "crops_of": "client.images",
    "pool": "client.pooling",
    "rating": "client.quality",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `client score` needs no gRPC, and importing that takes longer than it should.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
