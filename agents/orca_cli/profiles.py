"""Where Orca is and how to come in: profiles in a file that only its owner can read, and the environment.

``ORCA_URL`` and ``ORCA_TOKEN`` win over the file. A profile's token is never sent anywhere but to the profile's own
address.
"""

from __future__ import annotations

import configparser
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer

from .errors import CliError, Exit

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_PROFILE = "default"
_USED = "orca"
_PREFIX = "profile "
_LOCAL = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Profile:
    """A way in: where, with which token, as whom. An empty token: not logged in."""

    name: str
    url: str = DEFAULT_URL
    token: str = ""
    email: str = ""


def folder() -> Path:
    """Where the program keeps what is its own."""
    given = os.environ.get("ORCA_CONFIG_DIR")
    return Path(given) if given else Path(typer.get_app_dir("orca"))


class Profiles:
    """The configuration file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = configparser.ConfigParser(interpolation=None)
        try:
            self._file.read_string(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            pass
        except (OSError, UnicodeError, configparser.Error) as error:
            reason = str(error).splitlines()[0]
            raise CliError(
                f"{path} cannot be read: {reason}", hint="Mend or remove it, then log in again.", exit_code=Exit.USAGE
            ) from error

    @property
    def used(self) -> str:
        """The name of the profile that is used unless another is named."""
        return self._file.get(_USED, "profile", fallback=DEFAULT_PROFILE)

    @property
    def names(self) -> list[str]:
        """All profiles."""
        return [section.removeprefix(_PREFIX) for section in self._file.sections() if section.startswith(_PREFIX)]

    def get(self, name: str) -> Profile | None:
        """One profile, if it is there."""
        section = _PREFIX + name
        if not self._file.has_section(section):
            return None
        values = self._file[section]
        url = values.get("url", DEFAULT_URL)
        return Profile(name, url, values.get("token", ""), values.get("email", ""))

    def put(self, profile: Profile) -> None:
        """Keep a profile; the first one is the one that is used."""
        first = not self.names
        self._file[_PREFIX + profile.name] = {"url": profile.url, "token": profile.token, "email": profile.email}
        if first:
            self._file[_USED] = {"profile": profile.name}
        self._write()

    def use(self, name: str) -> None:
        """Use this one from now on."""
        self._file[_USED] = {"profile": name}
        self._write()

    def remove(self, name: str) -> None:
        """Forget a profile."""
        if self._file.remove_section(_PREFIX + name):
            self._write()

    def is_open_to_others(self) -> bool:
        """Whether other people of this machine can read the file."""
        try:
            return os.name == "posix" and bool(self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
        except OSError:
            return False

    def _write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                self._file.write(file)
            Path(made).replace(self.path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise


def profiles() -> Profiles:
    """The person's own."""
    return Profiles(folder() / "config.ini")


def profile_chosen(file: Profiles, named: str = "", environment: Mapping[str, str] = os.environ) -> Profile:
    """The way in to take: the profile that is named, or used, with what the environment says over it.

    Raises ``CliError`` for a name that no profile has.
    """
    name = named or environment.get("ORCA_PROFILE", "") or file.used
    found = file.get(name)
    url, token = environment.get("ORCA_URL", ""), environment.get("ORCA_TOKEN", "")
    if found is None:
        if name != DEFAULT_PROFILE and not (url and token):
            known = ", ".join(file.names) or "none"
            raise CliError(
                f"There is no profile called {name}.",
                hint=f"Profiles: {known}. “orca login --profile {name}” makes it.",
                code="no_profile",
                exit_code=Exit.LOGIN,
            )
        found = Profile(name)
    chosen = address(url) if url else found.url
    kept = found.token if chosen == found.url else ""
    return Profile(found.name, chosen, token or kept, "" if token or url else found.email)


def address(text: str) -> str:
    """An address as people type it (``orca.example.org``), with its scheme and without what follows the host's path.

    Raises ``CliError``.
    """
    typed = text.strip()
    if "://" not in typed:
        host = urlsplit(f"//{typed}").hostname or ""
        typed = f"{'http' if host in _LOCAL else 'https'}://{typed}"
    try:
        parts = urlsplit(typed)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise CliError(
            f"“{text}” is no address.", hint="Give one such as https://orca.example.org.", exit_code=Exit.USAGE
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/api/v1").rstrip("/")


def is_local(url: str) -> bool:
    """Whether an address is this machine."""
    return urlsplit(url).hostname in _LOCAL
