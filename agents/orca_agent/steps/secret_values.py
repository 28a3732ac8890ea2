"""The values of a workspace's secrets: fetched when a step needs them, kept a moment, given as variables and files."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, Final, List, Mapping, Sequence, Tuple, Union

from agents.orca_agent.account import Account
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.secrets import Secrets
from agents.orca_agent.events import Reason
from agents.orca_agent.steps.failure import StepFailed

# Short steps come in their hundreds and would each wait for, and pay, a call of Secrets Manager for every secret. Half
# a minute spares nearly all of these, and a value that was replaced still reaches all steps that start a minute later.
FRESH: Final = 30.0
AT_ONCE: Final = 8
MOST_TOGETHER: Final = 1_000_000
"""Bytes: of what Linux takes as environment and arguments of a program (2 MB), the half."""


class SecretValues:
    """The values, by name; any thread may ask."""

    def __init__(self, secrets: Secrets, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Dict[str, Tuple[float, str]] = {}

    def get(self, names: Sequence[str]) -> Mapping[str, str]:
        """The value of each. Raises `StepFailed` for those that are not there, else `CloudError`."""
        if not names:
            return {}
        wanted = list(dict.fromkeys(names))
        with self._lock:
            now = self._clock()
            self._known = {name: known for name, known in self._known.items() if now - known[0] < FRESH}
            found = {name: self._known[name][1] for name in wanted if name in self._known}
        asked = [name for name in wanted if name not in found]
        if len(asked) > 1:
            with ThreadPoolExecutor(min(AT_ONCE, len(asked)), "secret") as pool:
                answers = list(pool.map(self._ask, asked))
        else:
            answers = [self._ask(name) for name in asked]
        fetched = {name: answer for name, answer in zip(asked, answers) if isinstance(answer, str)}
        with self._lock:
            self._known.update({name: (now, value) for name, value in fetched.items()})
        _refuse([(name, answer) for name, answer in zip(asked, answers) if isinstance(answer, CloudError)])
        found.update(fetched)
        if sum(len(value.encode()) for value in found.values()) > MOST_TOGETHER:
            message = "Its secrets are together larger than 1 MB, for which a program's environment has no room."
            raise StepFailed(Reason.START_FAILED, message)
        return {name: found[name] for name in wanted}

    def _ask(self, name: str) -> Union[str, CloudError]:
        try:
            return self._secrets.get(name)
        except CloudError as error:
            return error


def _refuse(failures: List[Tuple[str, CloudError]]) -> None:
    missing = [name for name, error in failures if isinstance(error, Missing)]
    if missing:
        what = f"a secret {missing[0]}" if len(missing) == 1 else f"the secrets {', '.join(missing)}"
        one = "it" if len(missing) == 1 else "them"
        message = f"It needs {what}, which the workspace does not have. Add {one} on the workspace's page."
        raise StepFailed(Reason.SECRET_MISSING, message)
    for name, error in failures:
        if error.status in {400, 403} and "AccessDenied" in error.code:
            message = f"The instance may not read the secret {name}. Apply the workspace again: that renews rights."
            raise StepFailed(Reason.SECRET_MISSING, message) from error
        raise error


def write_files(values: Mapping[str, str], folder: Path, account: Account) -> None:
    """A file for each in a new folder, for the steps' user alone. Raises ``OSError``."""
    folder.mkdir(0o700)
    for name, value in values.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value.encode())
        account.own(folder / name)
    account.own(folder)
