"""All instances: between what moto's EC2 says of them and the machines that they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, InstanceState

from agents.local_cloud.access.callers import role_by_arn
from agents.local_cloud.access.sessions import Session, Sessions
from agents.local_cloud.accounts import PARTITION
from agents.local_cloud.instances import surroundings
from agents.local_cloud.instances.addresses import Addresses, Place
from agents.local_cloud.instances.engine import EngineDoor, find_engine
from agents.local_cloud.instances.engine_rules import Folders
from agents.local_cloud.instances.machine import Boot, Machine
from agents.local_cloud.instances.metadata import CREDENTIAL_SECONDS, Facts, Metadata
from agents.local_cloud.instances.root_folder import RootFolder
from agents.local_cloud.instances.sandbox import PATH, Tools

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


NO_ENGINE = "no Docker engine that instances could use on this machine: steps in containers will fail"

#: How long EC2 shows a terminated instance.
FORGET_SECONDS = 3600.0
TIDY_SECONDS = 60.0


class Doors(Protocol):
    """Where people come in (SSH)."""

    def open(self, machine: Machine, environment: dict[str, str]) -> None:
        """Let people in to a running instance."""

    def close(self, instance_id: str) -> None:
        """The instance is down."""


class Fleet:
    """Owns the machines; moto's instances tell it what they are asked to do (see ``mends.instance_lifecycle``)."""

    def __init__(
        self,
        *,
        data: Path,
        tools: Tools,
        endpoint: str,
        sessions: Sessions,
        control: threading.RLock,
        changed: Callable[[str, str], object],
        doors: Doors,
        grace: float,
    ) -> None:
        self._data = data
        self._endpoint = endpoint
        self._sessions = sessions
        self._control = control
        self._changed = changed
        self._doors = doors
        self._grace = grace
        self.tools = tools
        self.addresses = Addresses(data)
        self._machines: dict[str, Machine] = {}
        self._homes: dict[str, tuple[str, str]] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")
        self._leaving = False
        threading.Thread(target=self._tidy, name="tidy", daemon=True).start()

    def command(self, instance: Instance, name: str) -> None:
        """Ask the instance's machine to "boot", "stop", "reboot" or "terminate"."""
        if self._leaving:
            return
        self._homes[instance.id] = (instance.owner_id, instance.region_name)
        machine = self._machines.get(instance.id)
        if machine is None:
            place = self.addresses.place(instance.id)
            folder = RootFolder(self._data / "instances" / instance.id, place, self.tools.as_root)
            machine = self._machines[instance.id] = Machine(
                instance.id, folder, tools=self.tools, spawner=self._spawner, owner=self, grace=self._grace
            )
        machine.command(name)

    def restore(self) -> None:
        """After a start of the cloud: finish what was under way, boot what was running."""
        resume = {"running": "boot", "pending": "boot", "stopping": "stop", "shutting-down": "terminate"}
        with self._control:
            backends = [backend for regions in ec2_backends.values() for backend in regions.values()]
            for instance in [found for backend in backends for found in backend.all_instances()]:
                if instance.state in resume:
                    self.command(instance, resume[instance.state])

    def leave(self) -> None:
        """The cloud ends: every instance goes down, its state stays what it is."""
        self._leaving = True
        machines = list(self._machines.values())
        for machine in machines:
            machine.command("leave")
        for machine in machines:
            self._doors.close(machine.instance_id)
            machine.join(20.0)
        self._spawner.shutdown(wait=False)

    def console_output(self, instance_id: str) -> str:
        """The newest 64 KB of the instance's console."""
        machine = self._machines.get(instance_id)
        if machine is not None:
            return machine.console.newest()
        from agents.local_cloud.instances.console import Console

        return Console(self._data / "instances" / instance_id / "console.log").newest()

    def _tidy(self) -> None:
        """Now and then, cut back consoles: an agent in the foreground writes for as long as it lives."""
        while not self._leaving:
            time.sleep(TIDY_SECONDS)
            for machine in list(self._machines.values()):
                machine.console.cut()

    def health(self) -> list[dict[str, object]]:
        """What is running, for the health page."""
        known = list(self._machines.values())
        return [
            {
                "id": machine.instance_id,
                "address": machine.folder.place.address,
                "pid": machine.standing.init_pid,
                "up": machine.standing.init_pid != 0,
            }
            for machine in known
        ]

    # What machines ask and report, each from its own thread.

    def boot(self, instance_id: str) -> Boot | None:
        """See ``machine.Owner``."""
        with self._control:
            instance = self._instance(instance_id)
            if instance is None or instance.state in ("terminated", "shutting-down", "stopping", "stopped"):
                return None
            user_data = self._user_data(instance)
        place = self.addresses.place(instance_id)
        metadata = Metadata(place.address, lambda: self._facts(instance_id), lambda: self._issue(instance_id))
        environment = self._environment(instance_id, place, metadata.endpoint, instance.region_name)
        self._environments[instance_id] = environment

        folder = RootFolder(self._data / "instances" / instance_id, place, self.tools.as_root)
        door = self._open_engine(instance_id, folder)

        def close() -> None:
            self._doors.close(instance_id)
            metadata.close()
            if door is not None:
                door.close()
                folder.forget()

        return Boot(user_data, environment, close, () if door else (NO_ENGINE,))

    def _open_engine(self, instance_id: str, folder: RootFolder) -> EngineDoor | None:
        """The instance's view of this machine's Docker engine, where one answers.

        For an ordinary user's cloud there is none: root of an instance is then the same user as its ``analyst``, who
        must not reach it.
        """
        shutil.rmtree(folder.engine, ignore_errors=True)
        engine = find_engine(os.environ) if self.tools.as_root and self.tools.bwrap else ""
        if not engine:
            return None
        folder.forget()
        folder.memory.mkdir(mode=0o711)
        return EngineDoor(instance_id, engine, folder.engine, Folders(folder.container_folders))

    def booted(self, instance_id: str) -> None:
        """See ``machine.Owner``."""
        self._doors.open(self._machines[instance_id], self._environments[instance_id])
        with self._control:
            instance = self._instance(instance_id)
            if instance is not None and instance.state in ("pending", "running"):
                self.set_state(instance, "running")

    def down(self, instance_id: str, *, for_good: bool) -> None:
        """See ``machine.Owner``."""
        machine = self._machines[instance_id]
        if for_good:
            machine.folder.destroy()
            self.addresses.release(instance_id)
            del self._machines[instance_id]
        with self._control:
            instance = self._instance(instance_id)
            if instance is not None:
                if for_good:
                    instance.terminated_at = time.time()
                else:
                    set_public_address(instance, None)
                self.set_state(instance, "terminated" if for_good else "stopped")

    def asked_to_stop(self, instance_id: str) -> None:
        """See ``machine.Owner``."""
        with self._control:
            instance = self._instance(instance_id)
            if instance is not None:
                ends = instance.instance_initiated_shutdown_behavior == "terminate"
                instance.terminate() if ends else instance.stop()

    def forget_terminated(self, backend: Any) -> None:
        """Drop instances that have been terminated for an hour, as EC2 does. The caller holds the control lock."""
        before = time.time() - FORGET_SECONDS
        for reservation in list(backend.reservations.values()):
            for instance in list(reservation.instances):
                if instance.state == "terminated" and vars(instance).get("terminated_at", before) < before:
                    reservation.instances.remove(instance)
                    backend.tags.pop(instance.id, None)
                    shutil.rmtree(self._data / "instances" / instance.id, ignore_errors=True)
            if not reservation.instances:
                del backend.reservations[reservation.id]

    def set_state(self, instance: Instance, name: str) -> None:
        """Put moto's instance into a state and have it saved. The caller holds the control lock."""
        instance._state = InstanceState(name, STATES[name])
        self._changed(instance.owner_id, instance.region_name)

    def place(self, instance: Instance) -> Place:
        """The address that the instance has for life."""
        return self.addresses.place(instance.id)

    def _instance(self, instance_id: str) -> Any:
        """moto's instance, or None."""
        account_id, region = self._homes[instance_id]
        return ec2_backends[account_id][region].get_instance_by_id(instance_id)

    def _user_data(self, instance: Instance) -> bytes:
        import base64
        import gzip

        raw = instance.user_data
        if raw is None:
            return b""
        decoded = base64.b64decode(str(raw))
        if decoded.startswith(b"\x1f\x8b"):
            with contextlib.suppress(OSError):
                return gzip.decompress(decoded)
        return decoded

    def _environment(self, instance_id: str, place: Place, metadata: str, region: str) -> dict[str, str]:
        environment = {"LANG": "C.UTF-8", **surroundings.inherited(os.environ)}
        for name in ("no_proxy", "NO_PROXY"):
            listed = [part for part in environment.get(name, "").split(",") if part]
            environment[name] = ",".join([*listed, "localhost", "127.0.0.1", "127.0.0.0/8", place.address])
        if self.tools.bwrap is None:
            # A plain process sees this machine's files; what it calls its root it has to be told.
            environment["ORCA_INSTANCE_ROOT"] = str(self._data / "instances" / instance_id / "root")
        return {
            **environment,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "PATH": PATH,
            "HOME": "/root",
        }

    def _role(self, instance_id: str) -> tuple[Any, Any] | None:
        """The instance's (profile, role), or None."""
        account_id, region = self._homes[instance_id]
        association = ec2_backends[account_id][region].iam_instance_profile_associations.get(instance_id)
        profile = association.iam_instance_profile if association else None
        return (profile, profile.roles[0]) if profile is not None and profile.roles else None

    def _facts(self, instance_id: str) -> Facts:
        place = self.addresses.place(instance_id)
        account_id, region = self._homes[instance_id]
        with self._control:
            instance = self._instance(instance_id)
            role = self._role(instance_id)
            return Facts(
                instance_id=instance_id,
                instance_type=instance.instance_type,
                image_id=instance.image_id or "",
                account_id=account_id,
                region=region,
                zone=instance.availability_zone or f"{region}a",
                address=place.address,
                hostname=place.hostname,
                user_data=self._user_data(instance),
                role=(role[1].name, role[0].arn, role[0].id) if role else None,
            )

    def _issue(self, instance_id: str) -> Session | None:
        account_id, region = self._homes[instance_id]
        with self._control:
            found = self._role(instance_id)
            role = role_by_arn(found[1].arn) if found else None
        if role is None or "ec2.amazonaws.com" not in role.assume_role_policy_document:
            return None
        return self._sessions.issue(
            account_id=account_id,
            kind="role",
            name=role.name,
            owner_id=role.id,
            role_arn=role.arn,
            session_name=instance_id,
            seconds=CREDENTIAL_SECONDS,
            source_instance_arn=f"arn:{PARTITION}:ec2:{region}:{account_id}:instance/{instance_id}",
        )


def set_private_address(instance: Instance, address: str) -> None:
    """Make moto report the instance's one address as its private one."""
    interface = instance.nics[0]
    interface.private_ip_address = address
    for entry in interface.private_ip_addresses:
        if entry.get("Primary", True):
            entry["PrivateIpAddress"] = address


def set_public_address(instance: Instance, address: str | None) -> None:
    """Make moto report the address as the public one too, unless an Elastic IP has its place."""
    for interface in list(instance.nics.values())[:1]:
        known = interface.ec2_backend.address_by_ip([interface.public_ip], fail_if_not_found=False)
        if not known:
            interface.public_ip = address
