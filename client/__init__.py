"""Describe people with a QAFM server, and evaluate it.

    async with ReidClient("127.0.0.1:8001") as client:
        description = await client.describe(Path("crop.jpg"))
        print(description.attributes["gender"])     # gender: female 0.93

Every error is a `qafm.errors.QafmError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.complaints import complaint
    from client.description import AttributeValue, Description
    from client.pooling import best_shot, pool
    from client.reid import ReidClient

__all__ = ["AttributeValue", "Description", "ReidClient", "best_shot", "complaint", "pool"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `client score` needs no gRPC, and importing that takes longer than it should.
    if name == "ReidClient":
        from client.reid import ReidClient

        return ReidClient
    if name in ("AttributeValue", "Description"):
        from client import description

        return getattr(description, name)
    if name == "complaint":
        from client.complaints import complaint

        return complaint
    if name in ("best_shot", "pool"):
        from client import pooling

        return getattr(pooling, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
