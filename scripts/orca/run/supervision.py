"""Supervisor as `scripts/run` uses it: started as a child, spoken to over its private socket."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from scripts.orca.console import ScriptError, step
from scripts.orca.paths import LOGS, PYTHON, ROOT, RUN
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.processes import adopt_orphans, leash, sweep
from scripts.orca.run.services import Service, supervisor_configuration
from scripts.orca.setup.secrets import write_private

_DEATHS_BORNE = 3
_START_WITHIN = 300
_TERRAFORM_PATIENCE = 60
# The reverse of what needs what: within a wave, all stop at once.
_STOP_WAVES = ({"web", "relay", "beat", "worker", "terraform", "jobs"}, {"cloud"}, {"redis"})


class Supervision:
    """The processes of one Orca. ``lock`` is a file descriptor that supervisor holds as long as it lives."""

    def __init__(self, configuration: Configuration, found: list[Service], lock: int) -> None:
        self.configuration = configuration
        self.services = {service.name: service for service in found}
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._log_starts: dict[str, int] = {}
        self._socket = configuration.sockets / "supervisor.sock"

    def launch(self) -> None:
        """Starts supervisor with nothing running yet."""
        LOGS.mkdir(parents=True, exist_ok=True)
        adopt_orphans()
        file = RUN / "supervisor.conf"
        write_private(file, supervisor_configuration(list(self.services.values()), self.configuration.sockets))
        self._socket.unlink(missing_ok=True)
        with (LOGS / "supervisor.out").open("ab") as output:
            self._process = supervisor = subprocess.Popen(
                [*leash(), str(PYTHON), "-m", "supervisor.supervisord", "-c", str(file)],
                cwd=ROOT,
                env=self.configuration.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for scripts/run, which stops things in order
                pass_fds=(self._lock,),
            )
        deadline = time.monotonic() + _START_WITHIN
        while not self._answers():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                said = (LOGS / "supervisor.out").read_text(errors="replace").splitlines()[-10:]
                raise ScriptError("Supervisor did not start.", detail="\n".join(said))
            time.sleep(0.02)

    def start(self, *names: str) -> None:
        """Starts these services, those of them that run here; does not wait for them."""
        for name in names:
            if name in self.services:
                log = self.services[name].log
                self._log_starts[name] = log.stat().st_size if log.is_file() else 0
                self._call("startProcess", name, False)

    def wait_for(self, name: str, is_up: Callable[[], bool]) -> None:
        """Until ``is_up``; raises ``ScriptError`` with the end of the log when it keeps dying or never is."""
        if name not in self.services:
            return
        deadline = time.monotonic() + _START_WITHIN
        deaths = set()
        with step(f"Waiting for {name}"):
            while not is_up():
                state = self._call("getProcessInfo", name)
                if state["statename"] in {"BACKOFF", "EXITED", "FATAL"}:
                    deaths.add(state["stop"])
                if len(deaths) >= _DEATHS_BORNE or time.monotonic() > deadline:
                    why = "keeps ending" if deaths else f"is not up after {_START_WITHIN} s"
                    log = self.services[name].log
                    raise ScriptError(f"{name} {why}.", f"Its whole log is {log}.", self.log_since_start(name))
                time.sleep(0.05)

    def log_since_start(self, name: str, lines: int = 25) -> str:
        """The last ``lines`` that the service wrote since it was started here."""
        log = self.services[name].log
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            start = self._log_starts.get(name, 0)
            file.seek(start if start <= log.stat().st_size else 0)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_running(self, name: str, seconds: float) -> bool:
        """Whether the service has been up for ``seconds`` without a break."""
        state = self._call("getProcessInfo", name)
        return (
            state["statename"] in {"STARTING", "RUNNING"} and state["pid"] and state["now"] - state["start"] >= seconds
        )

    def stop(self) -> list[str]:
        """Stops everything in order; returns the names of programs that had to be killed."""
        killed: list[str] = []
        if self._process is not None and self._process.poll() is None:
            killed += self._stop_in_waves(self._process)
            self._end(self._process)
        return sorted({*killed, *sweep(set(), patience=5)})

    def _stop_in_waves(self, supervisor: subprocess.Popen[bytes]) -> list[str]:
        killed: list[str] = []
        try:
            for wave in _STOP_WAVES:
                for name in wave & self.services.keys():
                    self._stop_one(name)
                patience = max((self.services[name].stop_within for name in wave & self.services.keys()), default=0) + 5
                until = time.monotonic() + patience
                while time.monotonic() < until and not self._all_stopped(wave):
                    time.sleep(0.05)
                killed += sweep({supervisor.pid}, patience=5, terraform_patience=_TERRAFORM_PATIENCE)
        except (OSError, xmlrpc.client.Error) as error:
            print(f"Supervisor does not answer ({error}); ending it.", file=sys.stderr)
        return killed

    def _end(self, supervisor: subprocess.Popen[bytes]) -> None:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(timeout=max(service.stop_within for service in self.services.values()) + 15)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()

    def _stop_one(self, name: str) -> None:
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault:
            return  # was not running

    def _all_stopped(self, names: set[str]) -> bool:
        still = {"STARTING", "RUNNING", "STOPPING"}
        return not any(info["name"] in names and info["statename"] in still for info in self._call("getAllProcessInfo"))

    def _answers(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport("", "", f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)
