"""A Triton server on this machine as an object: start, wait until ready, stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from qafm.errors import ServerFailed
from server.installation import Installation, find_installation
from server.ports import take_ports

DRAIN_S = 10
"""How long a stopping server may finish the requests it has begun."""
GRACE_S = 15.0
"""After how long a server that was told to stop is killed."""
READY_TIMEOUT_S = 120.0

_SUPERVISOR = Path(__file__).resolve().with_name("supervisor.py")
_POLL_S = 0.1
_LOG_TAIL_LINES = 25
# These let a caller read the server's memory, exchange its models or write files; nothing here needs them.
_RESTRICTED = "model-repository,shared-memory,trace,logging"


class TritonServer:
    """One `tritonserver` process, which never outlives the program that started it.

    with TritonServer(Path("build/model_repository")) as server:
        ...  # ready: every model is loaded, ensembles included; server.grpc_url is "127.0.0.1:40123"

    repository: the models, as `python -m export` writes them.
    host: the address to bind; 0.0.0.0 is every one of this machine.
    http_port, grpc_port, metrics_port: 0 takes a free one.
    config_name: serve `configs/<config_name>.pbtxt` in the models that have one ("tensorrt").
    log: where the server's own log goes. None keeps it for error messages and drops it in the end; "inherit"
        writes it to standard error.

    Several may run at once. ServerFailed is raised where the server cannot be started or has died; the
    message has the end of its log.
    """

    def __init__(
        self,
        repository: Path,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        config_name: str | None = None,
        log: Path | str | None = None,
    ) -> None:
        self.repository = Path(repository).absolute()
        self.host = host
        self.config_name = config_name
        self.pid: int | None = None
        """Process id of `tritonserver` while it runs."""
        self._ports = {"HTTP": http_port, "gRPC": grpc_port, "metrics": metrics_port}
        self._chosen_ports = dict(self._ports)
        self._log = log
        self._log_file: BinaryIO | None = None
        self._supervisor: subprocess.Popen[str] | None = None
        self._placeholders = contextlib.ExitStack()

    @property
    def http_url(self) -> str:
        return self._url("HTTP")

    @property
    def grpc_url(self) -> str:
        return self._url("gRPC")

    @property
    def metrics_url(self) -> str:
        return self._url("metrics")

    @property
    def running(self) -> bool:
        """Whether the server's process is alive. It may not be ready yet."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def start(self) -> TritonServer:
        """Start the server's process and return at once, but build missing TensorRT plans first, which takes minutes.

        Raises ServerFailed where it cannot be started.
        """
        if self._supervisor is not None:
            raise RuntimeError("this server has been started already; stop it first")
        self._check_repository()
        installation = find_installation()
        try:
            # Before the plans: a port that is taken is said at once, not after minutes.
            self._ports = take_ports(self.host, self._ports, self._placeholders)
            self._build_plans()
            # One prefix a server: whatever it leaves in /dev/shm after a crash is known to be its own.
            shm_prefix = f"qafm_{os.getpid()}_{secrets.token_hex(4)}_"
            command = self._command(installation, shm_prefix)
            if self._log is None:
                # Without a name there is nothing to clean up, however this program ends.
                self._log_file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  (stop() closes it)
            elif self._log != "inherit":
                self._log_file = Path(self._log).open("w+b")  # noqa: SIM115
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", str(_SUPERVISOR), str(GRACE_S), shm_prefix, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log_file,
                text=True,
                env={**os.environ, **installation.environment},
                # Ctrl-C in a terminal reaches the program, which then stops the server in good order.
                start_new_session=True,
            )
            self.pid = int(self._supervisor.stdout.readline() or 0) or None
            if self.pid is None:
                raise self._failure(f"{installation.executable} could not be run")
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once every model of the repository, ensembles included, answers that it is ready.

        Raises ServerFailed, with the end of the server's log, where it dies or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        models = self._models()
        while not self._ready(models):
            if not self.running:
                raise self._failure("the Triton server died while it started")
            if time.monotonic() > deadline:
                raise self._failure(f"the Triton server was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)
        self._placeholders.close()
        self._check_variant()

    def stop(self) -> None:
        """Stop the server and wait until it, its stub processes and its shared memory are gone."""
        self._placeholders.close()
        if self._supervisor is not None:
            self._supervisor.stdin.close()
            self._supervisor.wait()
            self._supervisor.stdout.close()
            self._supervisor = None
            self.pid = None
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None
        self._ports = dict(self._chosen_ports)

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """The last lines of the server's log, and before them the errors that scrolled out of those."""
        if self._log_file is None:
            return ""
        # Read without moving the position at which the server writes.
        size = os.fstat(self._log_file.fileno()).st_size
        text = os.pread(self._log_file.fileno(), size, 0).decode(errors="replace").splitlines()
        errors = [line for line in text[:-lines] if re.match(r"E\d{4} ", line)]
        return "\n".join([*errors[-5:], *text[-lines:]])

    def __enter__(self) -> TritonServer:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _url(self, endpoint: str) -> str:
        return f"{self._reachable_host}:{self._ports[endpoint]}"

    @property
    def _reachable_host(self) -> str:
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host

    def _models(self) -> list[str]:
        return sorted(path.parent.name for path in self.repository.glob("*/config.pbtxt"))

    def _variants(self) -> dict[str, Path]:
        """The models that have a configuration of the chosen name, and its file."""
        if not self.config_name:
            return {}
        return {path.parent.parent.name: path for path in self.repository.glob(f"*/configs/{self.config_name}.pbtxt")}

    def _check_repository(self) -> None:
        if not self._models():
            raise ServerFailed(
                f"no models in {self.repository}: expected folders with a config.pbtxt; "
                "export a trained run to it with `python -m export RUN`"
            )
        # The server itself falls back to config.pbtxt without a word.
        if self.config_name and not self._variants():
            known = sorted({path.stem for path in self.repository.glob("*/configs/*.pbtxt")})
            raise ServerFailed(
                f"no model in {self.repository} has configs/{self.config_name}.pbtxt; "
                f"known names: {', '.join(known) or 'none'}. The export writes them: `python -m export RUN`, "
                "but none that fails its gate"
            )

    def _command(self, installation: Installation, shm_prefix: str) -> list[str]:
        key = secrets.token_hex(16)
        command = [
            str(installation.executable),
            f"--model-repository={self.repository}",
            # Every model is loaded at the start, as configured and not as guessed, or the start fails.
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            "--exit-on-error=true",
            "--strict-readiness=true",
            f"--exit-timeout-secs={DRAIN_S}",
            f"--http-address={self.host}",
            f"--http-port={self._ports['HTTP']}",
            f"--grpc-address={self.host}",
            f"--grpc-port={self._ports['gRPC']}",
            f"--metrics-address={self.host}",
            f"--metrics-port={self._ports['metrics']}",
            f"--http-restricted-api={_RESTRICTED}:restricted={key}",
            f"--grpc-restricted-protocol={_RESTRICTED}:restricted={key}",
            *installation.backend_options(shm_prefix),
        ]
        if self.config_name:
            command.append(f"--model-config-name={self.config_name}")
        return command

    def _build_plans(self) -> None:
        """Have the plans of the chosen variant built where they are missing or do not fit this machine."""
        planned = sorted(model for model, path in self._variants().items() if _backend(path) == "tensorrt")
        if not planned:
            return
        command = [sys.executable, "-m", "server.plans", str(self.repository), *planned]
        built = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if built.returncode:
            raise ServerFailed(built.stderr.strip().removeprefix("server: "))

    def _ready(self, models: list[str]) -> bool:
        paths = ["/v2/health/ready", *(f"/v2/models/{name}/ready" for name in models)]
        return all(self._get(path) is not None for path in paths)

    def _get(self, path: str) -> bytes | None:
        """The body of an answer from the server, None where it is not there yet or says no."""
        connection = http.client.HTTPConnection(self._reachable_host, self._ports["HTTP"], timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _check_variant(self) -> None:
        """The server must have loaded the chosen configurations, not fallen back to config.pbtxt."""
        for model, path in sorted(self._variants().items()):
            loaded = json.loads(self._get(f"/v2/models/{model}/config") or b"{}")
            expected, runs_on = _backend(path), loaded.get("backend")
            if expected and runs_on != expected:
                raise self._failure(f"model '{model}' runs on backend {runs_on!r}; expected {expected!r} from {path}")
            accelerated = "cpu_execution_accelerator" in json.dumps(loaded.get("optimization", {}))
            if "cpu_execution_accelerator" in path.read_text() and not accelerated:
                raise self._failure(f"model '{model}' runs without the accelerator that {path} asks for")

    def _failure(self, what: str) -> ServerFailed:
        tail = self.log_tail()
        return ServerFailed(f"{what}; its log ends:\n{tail}" if tail else what)


def _backend(config: Path) -> str | None:
    """The backend that a model configuration names."""
    line = re.search(r'^backend:\s*"(\w+)"', config.read_text(), re.MULTILINE)
    return line[1] if line else None
