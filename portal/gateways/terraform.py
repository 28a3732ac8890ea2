"""Terraform for one workspace: initialise, plan, apply exactly that plan, and what came of it.

The only way from Orca to Terraform. Every call runs to its end without ever asking anything; what happens meanwhile
is told line by line; a call can be cancelled and has a time limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged

from portal.gateways.terraform_errors import (
    Diagnostic,
    LockHolder,
    TerraformCancelled,
    TerraformError,
    TerraformKilled,
    TerraformLocked,
    TerraformTimeout,
    error_from,
)
from portal.gateways.terraform_events import (
    PlanResult,
    ResourceChange,
    TerraformEvent,
    diagnostic_from,
    event_from,
    line_parse,
    plan_from,
)
from portal.gateways.terraform_process import Invocation, Terraform, processes_of
from portal.gateways.terraform_root import PreparedRoot, data_link, root_prepare
from portal.gateways.terraform_state import StateObjects
from portal.gateways.terraform_strays import Stray, strays_find, variables_covering

__all__ = [
    "LockHolder",
    "PlanResult",
    "ResourceChange",
    "TerraformCancelled",
    "TerraformError",
    "TerraformEvent",
    "TerraformKilled",
    "TerraformLocked",
    "TerraformSettings",
    "TerraformTimeout",
    "TerraformWorkspace",
]

INIT_SECONDS = 600.0
PLAN_SECONDS = 600.0
APPLY_SECONDS = 3600.0
ASK_SECONDS = 60.0
# Everything that depends on nothing starts at once: the instance never queues behind what waits 25 seconds.
PARALLELISM = 20
_DATA = re.compile(r"(?:^|\.)data\.")


@dataclass(frozen=True)
class TerraformSettings:
    """How an installation runs Terraform.

    ``root`` is the root module (``<tree>/envs/<name>`` beside ``<tree>/modules``), ``data_root`` the folder for what
    Terraform keeps on disk, ``cli_config`` the CLI configuration that ``terraform_mirror`` writes. ``environment``
    holds the cloud's endpoint and Orca's own credentials; of the rest only what any program needs is passed on.
    """

    binary: str
    cli_config: Path
    root: Path
    data_root: Path
    state_bucket: str
    region: str
    environment: Mapping[str, str]
    path_style: bool

    @property
    def backend(self) -> dict[str, str]:
        return {
            "bucket": self.state_bucket,
            "region": self.region,
            "use_path_style": "true" if self.path_style else "false",
        }


class TerraformWorkspace:
    """One workspace's Terraform. Not for two threads at once; two of different names may run side by side.

    ``on_event`` is called for each line, in the thread that called. Setting ``cancelled`` stops the call under way
    (``TerraformCancelled``) and refuses those after it.
    """

    def __init__(
        self,
        settings: TerraformSettings,
        name: str,
        *,
        on_event: Callable[[TerraformEvent], None],
        cancelled: threading.Event,
    ) -> None:
        self.settings = settings
        self.name = name
        self.data_dir = settings.data_root / name
        self._on_event = on_event
        self._cancelled = cancelled
        self._prepared: PreparedRoot | None = None
        self._objects = StateObjects(
            settings.state_bucket,
            name,
            environment=settings.environment,
            region=settings.region,
            path_style=settings.path_style,
        )

    def init(self) -> None:
        """Make the workspace ready for the other calls. Cheap when any workspace was initialised before."""
        self._prepare()

    def plan(
        self,
        variables: Mapping[str, object],
        *,
        out: Path,
        destroy: bool = False,
        rebuild: Sequence[str] = (),
    ) -> PlanResult:
        """Compare what is there with what ``variables`` ask for, and save the plan to ``out``.

        ``destroy`` plans to remove everything; ``rebuild`` names resources to build anew. The plan holds secrets:
        ``out`` can be read by its owner only.
        """
        options: dict[str, Any] = {"out": str(out), "destroy": IsFlagged if destroy else None}
        options["replace"] = list(rebuild)
        if self._objects.marked():
            self._take_over(variables)
        if not destroy:
            self._keep_half_made()
        with self._variables_file(variables) as file:
            return plan_from(self._work("plan", seconds=PLAN_SECONDS, var_file=file, **options))

    def apply(self, plan_file: Path) -> None:
        """Do exactly what the saved plan says; refuse (``terraform_plan_stale``) if the state has changed since.

        After one that did not come to an orderly end, the next ``plan`` takes over what that one had made.
        """
        self._objects.mark()
        try:
            self._work("apply", str(plan_file), seconds=APPLY_SECONDS)
        except TerraformError as error:
            if not error.state_lost:
                self._objects.unmark()
            raise
        self._objects.unmark()

    def outputs(self) -> dict[str, object]:
        """The outputs of the root module, by name; empty when nothing has been applied."""
        found = json.loads(self._ask("output", json=IsFlagged) or "{}")
        return {name: output["value"] for name, output in found.items()}

    def resources(self) -> list[str]:
        """Addresses of everything in the state that Terraform made."""
        try:
            found = self._ask("state list").split("\n")
        except TerraformError as error:
            if "No state file was found" in error.detail:
                return []
            raise
        return [address for address in found if address and not _DATA.search(address)]

    def lock_holder(self) -> LockHolder | None:
        """Who holds the lock of the workspace's state, if anyone does."""
        return self._objects.holder()

    def unlock(self, lock_id: str) -> bool:
        """Break the lock ``lock_id``, if it is still that one. Only when the run that holds it is known to be dead.

        Providers that a killed Terraform left running on this machine are ended too: each holds 650 MB.
        """
        broken = self._objects.break_(lock_id)
        if broken and not self.process_alive():
            for process in processes_of(self.data_dir):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
        return broken

    def process_alive(self) -> bool:
        """Whether a Terraform of this workspace runs on this machine. Where that cannot be known, it may."""
        try:
            found = processes_of(self.data_dir)
        except NotImplementedError:
            return True
        return any(not _is_provider(process) for process in found)

    # --- after an interruption ----------------------------------------------------------------------------------

    def _take_over(self, variables: Mapping[str, object]) -> None:
        """Bring into the state what an apply made that never came to write it down."""
        if (holder := self.lock_holder()) is not None:
            raise TerraformLocked(holder)
        strays = strays_find(variables, self.resources(), environment=self.settings.environment)
        if strays:
            self._import(strays, variables_covering(strays, variables))
        self._objects.unmark()

    def _keep_half_made(self) -> None:
        """Have the plan mend what is half made instead of making it anew: a bucket may hold data by now."""
        for address in self._objects.tainted():
            self._say(f"{address}: was not finished; the plan mends it")
            self._ask(f"untaint {address}")

    def _import(self, strays: Sequence[Stray], variables: Mapping[str, object]) -> None:
        """Import all at once, in a copy of the root: one at a time would load the provider for each."""
        for stray in strays:
            self._say(f"{stray.address}: taking over {stray.identity}, which an interrupted run left behind")
        prepared, place = self._prepared or self._prepare(), self.data_dir / "import"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(prepared.directory.parents[1], place)
        directory = place / prepared.directory.relative_to(prepared.directory.parents[1])
        (directory / "strays.tf").write_text(
            "".join(f"import {{\n  to = {stray.address}\n  id = {json.dumps(stray.identity)}\n}}\n" for stray in strays)
        )
        try:
            out, targets = place / "import.tfplan", [stray.address for stray in strays]
            with self._variables_file(variables) as file:
                options = {"out": str(out), "target": targets, "var_file": file}
                self._work("plan", seconds=PLAN_SECONDS, directory=directory, **options)
            self._work("apply", str(out), seconds=APPLY_SECONDS, directory=directory)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _say(self, message: str) -> None:
        self._on_event(TerraformEvent(datetime.now(UTC), "info", "orca", message, None, None))

    # --- how ---------------------------------------------------------------------------------------------------

    def _salt(self) -> str:
        binary = shutil.which(self.settings.binary, path=self.settings.environment.get("PATH")) or self.settings.binary
        with suppress(OSError):
            found = Path(binary).resolve().stat()
            binary = f"{binary} {found.st_mtime_ns} {found.st_size}"
        try:
            config = hashlib.sha256(self.settings.cli_config.read_bytes()).hexdigest()
        except FileNotFoundError as error:
            raise TerraformError(
                f"Terraform's configuration {self.settings.cli_config} is not there.",
                code="terraform_no_provider",
                hint="An operator runs: python -m portal.gateways.terraform_mirror --out DIR",
                fault="operator",
            ) from error
        return json.dumps([binary, config, self.settings.backend])

    def _initialise(self, directory: Path, data_dir: Path) -> None:
        # The backend always knows a workspace "default"; init asks which one to take when the named one is not there.
        invocation = self._invocation(directory, data_dir, workspace="default")
        self._run(invocation, "init", seconds=INIT_SECONDS, json=IsFlagged, input=False, **self._backend())

    def _backend(self) -> dict[str, Any]:
        return {"backend_config": self.settings.backend, "lock_timeout": "0s"}

    def _prepare(self) -> PreparedRoot:
        given = self.settings
        self._prepared = root_prepare(given.root, given.data_root, salt=self._salt(), initialise=self._initialise)
        data_link(self._prepared, self.data_dir)
        return self._prepared

    def _ready(self) -> Invocation:
        prepared = self._prepared or self._prepare()
        return self._invocation(prepared.directory, self.data_dir, workspace=self.name)

    def _invocation(self, directory: Path, data_dir: Path, *, workspace: str) -> Invocation:
        given = self.settings
        return Invocation(given.binary, directory, data_dir, workspace, given.cli_config, given.environment)

    def _work(
        self, command: str, *args: str, seconds: float, directory: Path | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        ready = self._ready()
        return self._run(
            ready if directory is None else replace(ready, directory=directory),
            command,
            *args,
            seconds=seconds,
            json=IsFlagged,
            input=False,
            lock_timeout="0s",
            parallelism=PARALLELISM,
            **options,
        )

    def _run(
        self, invocation: Invocation, command: str, *args: str, seconds: float, **options: Any
    ) -> list[dict[str, Any]]:
        """Run a command that reports in JSON, telling each line as it comes; the lines."""
        lines: list[dict[str, Any]] = []
        plain: list[str] = []

        def hear(text: str) -> None:
            line = line_parse(text)
            if line is None:
                plain.append(text)
                return
            lines.append(line)
            self._on_event(event_from(line))

        terraform = Terraform(invocation, cancelled=self._cancelled)
        code, _, errors = terraform.cmd(command, *args, hear=hear, seconds=seconds, **options)
        rest = errors or "\n".join(plain[-50:])
        if code < 0:
            raise TerraformKilled(command, -code, detail=rest)
        if code != 0:
            found = [d for d in map(diagnostic_from, lines) if d is not None]
            raise self._error(command, found, rest)
        return lines

    def _ask(self, command: str, **options: Any) -> str:
        """Run a command that only looks at the state; its standard output."""
        said: list[str] = []
        terraform = Terraform(self._ready(), cancelled=self._cancelled)
        code, _, errors = terraform.cmd(command, hear=said.append, seconds=ASK_SECONDS, **options)
        if code != 0:
            raise self._error(command, [], errors or "\n".join(said))
        return "\n".join(said).strip()

    @contextmanager
    def _variables_file(self, variables: Mapping[str, object]) -> Iterator[str]:
        """A file for ``-var-file`` that only its owner reads and that is gone afterwards: it holds secrets."""
        self._ready()
        file = self.data_dir / "variables.tfvars.json"
        file.unlink(missing_ok=True)
        try:
            file.touch(mode=0o600)
            file.write_text(json.dumps(dict(variables)))
            yield str(file)
        finally:
            file.unlink(missing_ok=True)

    def _error(self, command: str, diagnostics: Sequence[Diagnostic], rest: str) -> TerraformError:
        error = error_from(command, diagnostics, rest)
        if isinstance(error, TerraformLocked) and error.holder is None:
            with suppress(TerraformError):
                error = TerraformLocked(self.lock_holder(), detail=error.detail)
        return error


def _is_provider(process: int) -> bool:
    try:
        name = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return True
    return b"terraform-provider-" in name or not name
