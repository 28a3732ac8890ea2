"""``docs/settings.md`` names every variable that Orca reads, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from scripts.orca.paths import ROOT

_READERS = {"text", "number", "decimal", "switch", "words", "rate", "dollars", "database"}
# Read by the scripts, boto3 or Terraform rather than through portal.env.
_ELSEWHERE = {
    "ORCA_HOME",
    "ORCA_ENV_FILE",
    "ORCA_PORT",
    "ORCA_CLOUD",
    "ORCA_CLOUD_PORT",
    "ORCA_PYTHON",
    "ORCA_TF_MIRROR",
    "ORCA_DOCKER_HOST",
    "DOCKER_HOST",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
}


def _read_by(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READERS:
            value = node.func.value
            first = node.args[0] if node.args else None
            if isinstance(value, ast.Name) and value.id == "env" and isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_the_page_and_the_settings_name_the_same_variables() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    told = set(re.findall(r"`([A-Z][A-Z0-9_]{3,})`", page)) - {"WARNING", "DEBUG", "INFO", "ERROR"}
    read = _read_by(ROOT / "portal" / "settings.py")
    assert "SECRET_KEY" in read
    assert told == (read | _ELSEWHERE) - {"DEBUG"}
