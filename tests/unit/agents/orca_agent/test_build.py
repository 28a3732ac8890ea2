"""The archive is the same for the same sources, holds what an instance needs, and runs on an old Python."""

from __future__ import annotations

import ast
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from agents.orca_agent import build


def test_the_same_sources_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.archive()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert build.archive() == first


def test_it_is_small_and_holds_install_and_the_agent() -> None:
    content = build.archive()
    assert len(content) < 200_000
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {member.name: member for member in archive}
    assert members["install"].mode == 0o755
    assert {"agents/__init__.py", "agents/orca_agent/__main__.py"} <= set(members)
    assert all(member.isreg() and member.mtime == 0 and member.uid == 0 for member in members.values())
    assert not [name for name in members if "test" in name or "__pycache__" in name]


def test_nothing_but_the_standard_library_is_imported() -> None:
    allowed = sys.stdlib_module_names | {"agents"}
    for name, source in build.contents().items():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(source)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                assert module.partition(".")[0] in allowed, (name, module)
                if module.startswith("agents"):
                    assert module.startswith("agents.orca_agent"), (name, module)


def test_every_file_is_python_3_9() -> None:
    for name, source in build.contents().items():
        if name.endswith(".py"):
            ast.parse(source, name, feature_version=(3, 9))


def pythons() -> list[str]:
    """The interpreters of this machine that the agent should run on."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [str(path) for path in home.glob("versions/3.*/bin/python3")]
    found += [path for name in ("python3.9", "python3") if (path := shutil.which(name, path=os.defpath))]
    check = "import sys; sys.exit(sys.version_info < (3, 9))"
    usable = {sys.executable}
    usable |= {path for path in found if subprocess.run([path, "-c", check], check=False).returncode == 0}
    return sorted(usable)


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_it_starts_on_every_python_that_is_here(python: str, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", "-", "-C", tmp_path], input=build.archive(), check=True)
    done = subprocess.run(
        [str(tmp_path / "install"), "--check"],
        env={"PATH": os.defpath, "ORCA_PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " on Python 3." in done.stderr
    for module in ("warden", "warm"):
        run = [python, "-W", "error", "-c", f"import agents.orca_agent.steps.{module}"]
        subprocess.run(run, env={"PYTHONPATH": str(tmp_path)}, check=True)
