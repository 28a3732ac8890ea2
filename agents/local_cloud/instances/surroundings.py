"""What of this machine an instance may see and inherit: system folders, certificates, pip's settings, proxies."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Read-only, or a link if it is one here.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix")

#: Folders of /etc that hold nothing private. /etc/ssl is not here for the sake of /etc/ssl/private.
ETC_FOLDERS = ("alternatives", "ca-certificates", "crypto-policies", "fonts", "ld.so.conf.d", "pki", "ssl/certs")
ETC_PATTERNS = ("python3*", "java*", "perl*")

#: Files of /etc that are copied at each boot.
ETC_FILES = (
    "bash.bashrc",
    "ca-certificates.conf",
    "debian_version",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/openssl.cnf",
    "timezone",
)

_INHERITED = re.compile(
    r"PIP_.*|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|NODE_EXTRA_CA_CERTS"
    r"|(https?|ftp|all|no)_proxy|TZ|LANG",
    re.IGNORECASE,
)
_NAMES_PATHS = re.compile(r"PIP_.*|SSL_CERT_.*|.*_CA_BUNDLE|GIT_SSL_CAINFO|NODE_EXTRA_CA_CERTS")
_PATH_IN_VALUE = re.compile(r"(?:^|[\s=,:'\"]|file://)(/[^\s,:'\"]+)")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this machine that an instance inherits."""
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}


def read_only(hidden: Iterable[Path]) -> list[Path]:
    """Folders to bind read-only at their own place, without those that hold (or lie in) something ``hidden``."""
    found = [Path(name) for name in SYSTEM if Path(name).is_dir() and not Path(name).is_symlink()]
    found += [Path("/etc") / name for name in ETC_FOLDERS if (Path("/etc") / name).is_dir()]
    found += [path for pattern in ETC_PATTERNS for path in sorted(Path("/etc").glob(pattern)) if path.is_dir()]
    if Path("/opt").is_dir():
        found += sorted(path for path in Path("/opt").iterdir() if path.is_dir() and path.name != "orca-agent")
    private = [path.resolve() for path in hidden]
    return [
        path
        for path in found
        if str(path) in SYSTEM
        or not any(other == path or path in other.parents or other in path.parents for other in private)
    ]


def covered(hidden: Iterable[Path]) -> list[Path]:
    """Of ``hidden``, what lies inside of a system folder and has to be covered by an empty one."""
    systems = [Path(name) for name in SYSTEM]
    return [path.resolve() for path in hidden if any(system in path.resolve().parents for system in systems)]


def links() -> dict[str, str]:
    """System folders that are links on this machine (``/bin`` to ``usr/bin``)."""
    return {name: str(Path(name).readlink()) for name in SYSTEM if Path(name).is_symlink()}


def pip_settings() -> str:
    """pip's settings of this machine and of the user who runs the local cloud, as one file."""
    merged = configparser.RawConfigParser()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip/pip.conf"
    merged.read(["/etc/pip.conf", Path.home() / ".pip/pip.conf", user])
    lines = []
    for section in merged.sections():
        lines.append(f"[{section}]")
        lines += [f"{key} = " + value.replace("\n", "\n  ") for key, value in merged.items(section)]
    return "\n".join(lines) + "\n"


def named_paths(environment: Mapping[str, str], settings: str, visible: Iterable[Path]) -> list[Path]:
    """What certificate and pip settings name (a folder of wheels) and is not ``visible`` yet."""
    seen = list(visible)
    texts = [value for name, value in environment.items() if _NAMES_PATHS.fullmatch(name)] + settings.splitlines()
    named = [Path(path) for text in texts for path in _PATH_IN_VALUE.findall(text)]
    return [
        path
        for path in dict.fromkeys(named)
        if path.exists()
        and len(path.parts) > 2
        and path.parts[1] not in ("dev", "etc", "proc", "run", "sys", "tmp")
        and not any(path == other or other in path.parents for other in seen)
    ]
