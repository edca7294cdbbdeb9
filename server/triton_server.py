"""A Triton server on this machine as an object: start, wait until ready, stop."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from qafm.contract import QAFM
from qafm.errors import ContractMismatch, ServerFailed
from server.command_line import command_line
from server.endpoint import Endpoint, NoAnswer
from server.health import GONE, Health, processes_of, state_of
from server.installation import Installation, find_installation
from server.known_answers import ask
from server.log import TAIL_LINES, Log
from server.ports import address_of, take_ports
from server.repository import Repository, backend
from server.supervisor import remove_shared_memory

GRACE_S = 15.0
"""After how long a server that was told to stop is killed."""
READY_TIMEOUT_S = 120.0

_SUPERVISOR = Path(__file__).resolve().with_name("supervisor.py")
_POLL_S = 0.1


class TritonServer:
    """One `tritonserver` process, which never outlives the program that started it.

    with TritonServer(Path("build/model_repository")) as server:
        ...  # ready: every model is loaded, ensembles included; server.grpc_url is "127.0.0.1:40123"

    repository: the models, as `python -m export` writes them; every file must be the one that its manifest names.
    host: the address or name to bind for gRPC and metrics; 0.0.0.0 is every one of this machine. http_host: that for
    HTTP, whose part of the server trusts what it reads.
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
        http_host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        config_name: str | None = None,
        log: Path | str | None = None,
    ) -> None:
        self.repository = Repository(repository, config_name)
        self.pid: int | None = None
        """Process id of `tritonserver` while it runs."""
        self._hosts = {"HTTP": http_host, "gRPC": host, "metrics": host}
        self._ports = {"HTTP": http_port, "gRPC": grpc_port, "metrics": metrics_port}
        self._chosen_ports = dict(self._ports)
        self._log_place = log
        self._log: Log | None = None
        self._supervisor: subprocess.Popen[str] | None = None
        self._shm_prefix = ""
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
        self.repository.check()
        try:
            self._log = Log(self._log_place)
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        installation = find_installation()
        addresses = self._addresses()
        # Before the plans: a port that is taken is said at once, not after minutes.
        self._ports = take_ports(addresses, self._ports, self._placeholders)
        self.repository.build_plans()
        self._run(installation, addresses)

    def _run(self, installation: Installation, addresses: dict[str, str]) -> None:
        # One prefix a start: whatever it leaves in /dev/shm after a crash is known to be its own.
        self._shm_prefix = f"qafm_{os.getpid()}_{secrets.token_hex(4)}_"
        command = command_line(installation, self.repository, addresses, self._ports, self._shm_prefix)
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", str(_SUPERVISOR), str(GRACE_S), self._shm_prefix, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.file,
            text=True,
            env={**os.environ, **installation.environment},
            # Ctrl-C in a terminal reaches the program, which then stops the server in good order.
            start_new_session=True,
        )
        self.pid = int(self._supervisor.stdout.readline() or 0) or None
        if self.pid is None:
            raise self._failure(f"{installation.executable} could not be run")

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once every model of the repository is ready, and the ensembles give the known answers of its manifest.

        Raises ServerFailed, with the end of the server's log, where it dies, answers wrongly or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        models = self.repository.models()
        while not self._ready(models):
            if not self.running:
                raise self._failure("the Triton server died while it started")
            if time.monotonic() > deadline:
                raise self._failure(f"the Triton server was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)
        self._placeholders.close()
        self._check_variant()
        if QAFM in models:
            self._check_answers(max(deadline - time.monotonic(), 1.0))

    def health(self) -> Health:
        """What tells whether this server, which is ready now, lives on."""
        processes = {self._supervisor.pid: "what keeps the Triton server", **processes_of(self.pid)}
        return Health(processes, Endpoint(self.metrics_url))

    def restart(self, pause_s: float, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Kill what is left of it, hold its ports for a while, and start it again on them. Returns once it is ready.

        Raises ServerFailed as `start` and `wait_until_ready` do; it may be called again then.
        """
        self._kill()
        with contextlib.ExitStack() as held:
            try:
                take_ports(self._addresses(), self._ports, held)
            finally:
                time.sleep(pause_s)
        self.repository.check()
        self._start()
        self.wait_until_ready(timeout_s)

    def stop(self) -> None:
        """Stop the server and wait until it, its stub processes and its shared memory are gone."""
        self._placeholders.close()
        if self._supervisor is not None:
            self._supervisor.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # of one that is stopped itself
                self._supervisor.wait(GRACE_S + 5)
            self._kill()
        if self._log is not None:
            self._log.close()
            self._log = None
        self._ports = dict(self._chosen_ports)

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the server's log, and before them the errors that scrolled out of those."""
        return self._log.tail(lines) if self._log else ""

    def trim_log(self) -> None:
        """Begin its log anew where it has become too long."""
        if self._log:
            self._log.trim()

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

    def _addresses(self) -> dict[str, str]:
        """By endpoint, as numbers."""
        return {endpoint: address_of(host) for endpoint, host in self._hosts.items()}

    def _url(self, endpoint: str) -> str:
        host = self._hosts[endpoint]
        return f"{'127.0.0.1' if host == '0.0.0.0' else host}:{self._ports[endpoint]}"

    def _ready(self, models: list[str]) -> bool:
        paths = ["/v2/health/ready", *(f"/v2/models/{name}/ready" for name in models)]
        return all(self._get(path) is not None for path in paths)

    def _get(self, path: str) -> bytes | None:
        """The body of an answer from the server, None where it is not there yet or says no."""
        with contextlib.suppress(NoAnswer):
            return Endpoint(self.http_url).get(path)
        return None

    def _check_variant(self) -> None:
        """The server must have loaded the chosen configurations, not fallen back to config.pbtxt."""
        for model, path in sorted(self.repository.variants().items()):
            loaded = json.loads(self._get(f"/v2/models/{model}/config") or b"{}")
            expected, runs_on = backend(path), loaded.get("backend")
            if expected and runs_on != expected:
                raise self._failure(f"model '{model}' runs on backend {runs_on!r}; expected {expected!r} from {path}")
            accelerated = "cpu_execution_accelerator" in json.dumps(loaded.get("optimization", {}))
            if "cpu_execution_accelerator" in path.read_text() and not accelerated:
                raise self._failure(f"model '{model}' runs without the accelerator that {path} asks for")

    def _check_answers(self, timeout_s: float) -> None:
        try:
            asked = dict(ask(Endpoint(self.http_url), timeout_s))
        except (NoAnswer, ContractMismatch) as error:
            raise self._failure(f"the Triton server is ready and describes nothing: {error}") from error
        if wrong := [words for said in asked.values() for words in said]:
            raise self._failure(
                f"the server does not give the known answers of its manifest: {'; '.join(wrong)}. Its processor or "
                "runtime computes otherwise than where the models were exported; export them here, or in a higher "
                "precision"
            )

    def _kill(self) -> None:
        """End the server and its processes at once, whatever state they are in."""
        self._placeholders.close()
        if self._supervisor is None:
            return
        # One that ended by itself has ended the group too, whose number may be another's by now.
        if self._supervisor.poll() in (None, *range(-signal.NSIG, 0)):
            self._kill_group()
        self._supervisor.stdin.close()
        self._supervisor.stdout.close()
        remove_shared_memory(self._shm_prefix)
        self._supervisor = self.pid = None

    def _kill_group(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        try:
            self._supervisor.wait(2)
        except subprocess.TimeoutExpired:  # it is stopped
            self._supervisor.kill()
            self._supervisor.wait()
        # Where nobody waits for a process, it may take a moment to give its ports back.
        deadline = time.monotonic() + GRACE_S
        while self.pid and state_of(self.pid) not in GONE and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _failure(self, what: str) -> ServerFailed:
        tail = self.log_tail()
        return ServerFailed(f"{what}; its log ends:\n{tail}" if tail else what)
