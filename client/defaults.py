"""What the library and the command assume unless told otherwise. Needs no gRPC."""

from qafm.contract import MAX_BATCH_SIZE

URL = "127.0.0.1:8001"
CONCURRENCY = 2 * MAX_BATCH_SIZE
"""Requests in flight at once: one batch being computed and the next one waiting."""
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 120.0
"""Of one attempt. On two cores a full-size float32 network takes over a second an image, and a queue may be
long."""
RETRY_S = 30.0
"""How long a request is tried again while the server is unavailable: time enough for it to restart."""
