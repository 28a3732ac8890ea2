"""What the shell offers after Tab: names that only the portal knows, asked for quickly and never with a complaint."""

from __future__ import annotations

import httpx

from .errors import CliError
from .profiles import is_local, profile_chosen, profiles

_PATIENCE = 1.5


def _names(path: str) -> list[str]:
    try:
        profile = profile_chosen(profiles())
        headers = {"Authorization": f"Bearer {profile.token}"}
        with httpx.Client(headers=headers, timeout=_PATIENCE, trust_env=not is_local(profile.url)) as http:
            answer = http.get(f"{profile.url}/api/v1/{path}", params={"page_size": 200})
            return [str(entry["name"]) for entry in answer.json()["results"]]
    except (CliError, httpx.HTTPError, ValueError, KeyError, TypeError):
        return []


def workspace_names(incomplete: str) -> list[str]:
    """The person's workspaces."""
    return [name for name in _names("workspaces/") if name.startswith(incomplete)]


def script_names(incomplete: str) -> list[str]:
    """The person's scripts. A local file completes as well, by the shell itself."""
    return [name for name in _names("scripts/") if name.startswith(incomplete)]


def pipeline_names(incomplete: str) -> list[str]:
    """The person's pipelines."""
    return [name for name in _names("pipelines/") if name.startswith(incomplete)]


def schedule_names(incomplete: str) -> list[str]:
    """The person's schedules."""
    return [name for name in _names("schedules/") if name.startswith(incomplete)]


def job_names(incomplete: str) -> list[str]:
    """The person's newest jobs."""
    return [name for name in dict.fromkeys(_names("jobs/")) if name.startswith(incomplete)]


def profile_names(incomplete: str) -> list[str]:
    """Profiles of the configuration file."""
    try:
        return [name for name in profiles().names if name.startswith(incomplete)]
    except CliError:
        return []
