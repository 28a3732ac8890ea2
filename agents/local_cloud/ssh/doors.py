"""The SSH listeners of all running instances, in one thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncssh

from agents.local_cloud.instances.machine import Machine
from agents.local_cloud.instances.root_folder import USER
from agents.local_cloud.instances.sandbox import Tools
from agents.local_cloud.ssh.sessions import Session, SessionHandler, serve_session

USUAL_PORT = 22
OTHER_PORT = 2222

_Result = TypeVar("_Result")


class SshDoors:
    """Opens and closes the way in to instances."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.port = OTHER_PORT
        self._loop = asyncio.new_event_loop()
        self._listeners: dict[str, asyncssh.SSHAcceptor] = {}
        self._connections: dict[str, set[asyncssh.SSHServerConnection]] = {}
        threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True).start()

    @staticmethod
    def choose_port(wanted: int | None, probe: str) -> int:
        """The port of SSH: the wanted one, else 22 where it may be had (tried on ``probe``), else 2222."""
        if wanted:
            return wanted
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((probe, USUAL_PORT))
            except OSError:
                return OTHER_PORT
        return USUAL_PORT

    def open(self, machine: Machine, environment: dict[str, str]) -> None:
        """Listen on the instance's address. A port that is taken is said on the instance's console."""
        try:
            self._await(self._open(machine, environment))
        except OSError as error:
            machine.console.say(f"no SSH on {machine.folder.place.address}:{self.port}: {error}")

    def close(self, instance_id: str) -> None:
        """Stop listening and end every connection."""
        self._await(self._close(instance_id))

    async def _open(self, machine: Machine, environment: dict[str, str]) -> None:
        await self._close(machine.instance_id)
        connections = self._connections[machine.instance_id] = set()
        self._listeners[machine.instance_id] = await asyncssh.create_server(
            lambda: Door(
                machine, connections, lambda process: serve_session(process, machine, self._tools, environment)
            ),
            machine.folder.place.address,
            self.port,
            server_host_keys=[str(machine.folder.host_key)],
            encoding=None,
            line_editor=False,
            server_version="Orca",
            login_timeout=30,
            keepalive_interval=30,
        )

    async def _close(self, instance_id: str) -> None:
        listener = self._listeners.pop(instance_id, None)
        if listener is not None:
            listener.close()
        for connection in self._connections.pop(instance_id, set()).copy():
            connection.abort()

    def _await(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


class Door(asyncssh.SSHServer):
    """Lets ``analyst`` in, with a key that the instance's authorized_keys holds at this moment."""

    def __init__(
        self, machine: Machine, connections: set[asyncssh.SSHServerConnection], handler: SessionHandler
    ) -> None:
        self._machine = machine
        self._connections = connections
        self._handler = handler
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client has connected."""
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        if self._connection is not None:
            self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        """Everybody has to prove who they are, with a key."""
        text = self._machine.folder.authorized_keys() if username == USER else ""
        # A file without a single valid line lets nobody in.
        with contextlib.suppress(ValueError):
            keys = asyncssh.import_authorized_keys(text)
            if self._connection is not None:
                self._connection.set_authorized_keys(keys)
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way in."""
        return True

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        """A shell, a command, sftp or scp."""
        return Session(self._handler)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        """Local port forwarding, to wherever the instance itself may go."""
        return True
