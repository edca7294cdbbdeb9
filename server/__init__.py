"""Starts a real Triton server on this machine."""

from server.triton_server import TritonServer

__all__ = ["TritonServer"]
