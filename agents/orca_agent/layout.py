"""Where the agent's files lie, below a root that is ``/`` on an instance and a folder in tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders and files. Only `home` and what lies in `work` and `environments` is for the steps' user."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "etc/orca/agent.json"

    @property
    def host_keys(self) -> Path:
        return self.root / "etc/ssh"

    @property
    def home(self) -> Path:
        return self.root / "home/analyst"

    @property
    def releases(self) -> Path:
        return self.root / "opt/orca-agent"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/orca"

    @property
    def work(self) -> Path:
        """A folder for each step that runs, or is prepared while another runs."""
        return self.state / "work"

    @property
    def bundles(self) -> Path:
        """Bundles that were fetched, by sha256."""
        return self.state / "bundles"

    @property
    def environments(self) -> Path:
        """Python environments, by what they hold."""
        return self.state / "environments"

    @property
    def secrets(self) -> Path:
        """A folder for each step that has secrets. ``/run`` is memory: they do not come to lie on a disk."""
        return self.root / "run/orca/secrets"

    @property
    def engine_coming(self) -> Path:
        """There while user data installs the container engine."""
        return self.root / "run/orca-engine-coming"

    @property
    def owner(self) -> Path:
        """A name for this installation of the agent; its containers carry it."""
        return self.state / "owner"

    @property
    def journal(self) -> Path:
        """What must survive the agent: unsent events, steps in hand."""
        return self.state / "journal"

    def create(self) -> None:
        """Make the folders. The steps' user may pass through to its own, and see nothing else."""
        for folder, mode in (
            (self.state, 0o711),
            (self.work, 0o711),
            (self.environments, 0o711),
            (self.secrets, 0o711),
            (self.bundles, 0o700),
            (self.journal, 0o700),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
