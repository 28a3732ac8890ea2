"""The modules that the warm interpreter has ready."""

from __future__ import annotations

import sys

# fmt: off
PRELOAD = (
    "argparse", "base64", "bisect", "calendar", "collections", "concurrent.futures", "contextlib",
    "copy", "csv", "ctypes", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions",
    "functools", "getpass", "glob", "gzip", "hashlib", "heapq", "hmac", "html", "http.client",
    "inspect", "io", "itertools", "json", "logging", "math", "mimetypes", "multiprocessing", "numbers",
    "operator", "os", "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "secrets",
    "select", "shlex", "shutil", "socket", "sqlite3", "ssl", "statistics", "string", "struct",
    "subprocess", "tempfile", "textwrap", "threading", "time", "traceback", "typing", "unicodedata",
    "urllib.error", "urllib.parse", "urllib.request", "uuid", "warnings", "xml.etree.ElementTree",
    "zipfile", "zlib", "zoneinfo",
)
# fmt: on


def shadows(names: frozenset[str]) -> bool:
    """Whether a script's own modules hide some of the standard library, which a warm interpreter would not see."""
    ours = {name.partition(".")[0] for name in PRELOAD} | set(sys.modules)
    return not names.isdisjoint(ours.union(getattr(sys, "stdlib_module_names", ())))
