"""Every error the project raises on purpose.

    QafmError
    ├── InvalidImage        an image that cannot be described; fails its own request only
    ├── InvalidDataset      a dataset folder, file name or attribute file that is not valid
    ├── InvalidDescriptors  a descriptor file, or a pair of them, that cannot be ranked
    ├── InvalidSettings     a training setting that is unknown, of the wrong type or out of range
    ├── InvalidCheckpoint   a checkpoint that is missing, damaged or made for other settings
    ├── TrainingFailed      a training that cannot go on; its last checkpoint is intact
    ├── ExportRefused       a model that did not pass its gate: nothing was installed
    ├── ContractMismatch    a server whose models are not the ones this client was written for
    ├── ModelChanged        a server that has come back with another model
    ├── ServerUnreachable   no server answers at the given address
    ├── ServerFailed        a server that does not start, or died
    ├── NotAvailable        what a request needs is away for a moment; the same request may be sent again
    ├── EvaluationFailed    so many images failed that nothing could be measured
    ├── LoadTestFailed      a load test that could not be run, or measured nothing
    └── RequestFailed       a request that the server answered with an error
        └── RequestRefused  by a server that refuses this client: every other request would fail too

A message says what was wrong, what was expected, what was found and what to do next.
"""


class QafmError(Exception):
    """Base of every error below.

    url, model, request_id: of the server, of what it was asked for, and of the request, where a server was involved;
    None otherwise. The server's log names the same request.
    """

    def __init__(
        self, message: str, *, url: str | None = None, model: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.url = url
        self.model = model
        self.request_id = request_id


class InvalidImage(QafmError):
    """The bytes are not an image that can be described. The message is safe to show to a remote caller."""


class InvalidDataset(QafmError):
    """A dataset folder, file name or attribute file is not valid."""


class InvalidDescriptors(QafmError):
    """A descriptor file, or a pair of them, cannot be ranked."""


class InvalidSettings(QafmError):
    """A setting is unknown, has the wrong type or is out of range."""


class InvalidCheckpoint(QafmError):
    """A checkpoint is missing, damaged, or made for other settings."""


class TrainingFailed(QafmError):
    """Training cannot go on: a loss or weight is not finite, or there is no room. The last checkpoint is intact."""


class ExportRefused(QafmError):
    """An exported model did not pass its gate. Nothing was installed."""


class ContractMismatch(QafmError):
    """The server's models differ from the contract."""


class ModelChanged(QafmError):
    """The server serves another model than when the client connected. Nothing of the two was mixed."""


class ServerUnreachable(QafmError):
    """No server answers at the given address."""


class ServerFailed(QafmError):
    """The server could not be started, or died."""


class NotAvailable(QafmError):
    """What a request needs is away for a moment. The same request may be sent again."""


class EvaluationFailed(QafmError):
    """So many images failed that nothing could be measured."""


class LoadTestFailed(QafmError):
    """A load test could not be run, or measured nothing."""


class RequestFailed(QafmError):
    """The server answered a request with an error."""


class RequestRefused(RequestFailed):
    """The server refuses this client, so every other request would fail too."""
