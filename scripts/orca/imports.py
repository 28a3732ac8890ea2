"""Who may import whom. ``python -m scripts.orca.imports`` prints every import that goes the wrong way.

- Nothing in ``agents/`` imports Django or the portal; each program there stands alone.
- The portal imports of ``agents/`` only the messages, ``agents.orca_agent.protocol``.
- Only ``portal/gateways/`` imports the vendors' libraries.
- The portal's apps build on each other in one direction: see ``LAYERS``.
- The product imports neither ``scripts/`` nor ``tests/``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.orca.paths import ROOT

# An app may import those before it. The gateways know the errors in core and nothing else of the portal.
LAYERS = (
    "core",
    "accounts",
    "clouds",
    "workspaces",
    "pipelines",
    "schedules",
    "notices",
    "usage",
    "jobs",
    "fleets",
    "web",
)
MESSAGES = "agents.orca_agent.protocol"
VENDORS = frozenset({"python_terraform", "boto3", "botocore"})
_SETUP = frozenset({"settings", "env", "urls", "asgi", "celery"})


def violations(root: Path) -> list[str]:
    """One line an import that breaks a rule: ``file:line: module imports module: rule``."""
    found = []
    for folder in ("agents", "portal"):
        for path in sorted((root / folder).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            for line, imported in _imports(path, module, is_package=path.name == "__init__.py"):
                if reason := broken_rule(module, imported):
                    found.append(f"{path.relative_to(root)}:{line}: {module} imports {imported}: {reason}")
    return found


def broken_rule(module: str, imported: str) -> str:
    """Why ``module`` must not import ``imported``; empty where it may."""
    if _within(imported, "scripts") or _within(imported, "tests"):
        return "the product does not need its scripts and tests"
    if _within(module, "agents"):
        return _broken_in_agents(module, imported)
    if _within(imported, "agents"):
        return "" if _within(imported, MESSAGES) else f"the portal knows only {MESSAGES} of the agents"
    if imported.split(".", maxsplit=1)[0] in VENDORS:
        return "" if _within(module, "portal.gateways") else "only portal/gateways speaks to vendors"
    return _broken_between_apps(module, imported)


def _broken_in_agents(module: str, imported: str) -> str:
    if _within(imported, "portal") or imported.split(".", maxsplit=1)[0] in {"django", "rest_framework", "celery"}:
        return "agents run where there is no portal"
    program = ".".join(module.split(".")[:2])
    if _within(imported, "agents") and imported != "agents" and not _within(imported, program):
        return "" if _within(imported, MESSAGES) else "each agent stands alone"
    return ""


def _broken_between_apps(module: str, imported: str) -> str:
    ours, theirs = _part(module), _part(imported)
    if not ours or not theirs or ours == theirs or ours in _SETUP or theirs == "env":
        return ""
    if theirs in _SETUP:
        return "settings are read through django.conf"
    if ours == "gateways":
        return "" if _within(imported, "portal.core.errors") else "a gateway knows only the errors of core"
    if theirs == "gateways":
        return "pages call services, services call gateways" if ours == "web" else ""
    if ours not in LAYERS or theirs not in LAYERS:
        return "an app that scripts/orca/imports.py does not know: give it its place in LAYERS"
    return (
        ""
        if LAYERS.index(theirs) < LAYERS.index(ours)
        else "apps build on each other in one direction: " + " <- ".join(LAYERS)
    )


def _part(module: str) -> str:
    """The app or module of the portal that a dotted name lies in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "portal" and len(parts) > 1 else ""


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _imports(path: Path, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every imported name with its line, as far as it can be told apart from an attribute."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def main() -> int:
    found = violations(ROOT)
    print("\n".join(found) if found else "Every import goes the right way.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
