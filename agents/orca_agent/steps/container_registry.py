"""The workspace's image repository: what one instance has built, the others need not build again.

Nothing depends on it: an image that cannot be pulled is built, and one that cannot be pushed stays where it is.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from typing import Callable, Dict, Final, Optional, Tuple

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.steps.container_build import follow
from agents.orca_agent.steps.engine import Engine, EngineError

log = logging.getLogger(__name__)

SECONDS: Final = 900.0
REST: Final = 60.0
"""Seconds in which a registry that has failed is not asked: a step waits for that once, and not at every turn."""

# What engines and registries say; some of it comes with a status, some in the middle of an answer.
_MISSING: Final = re.compile(r"not found|manifest unknown|name unknown", re.IGNORECASE)
_TAKEN: Final = re.compile(r"immutable", re.IGNORECASE)
_REFUSED: Final = re.compile(r"unauthorized|denied|forbidden|no basic auth|expired|credentials", re.IGNORECASE)

Headers = Dict[str, str]


class Registry:
    """A ``repository`` without a tag, and who gives user and password for it; ``forget`` has them asked for anew."""

    def __init__(
        self,
        repository: str,
        tokens: Callable[[], Tuple[str, str]],
        forget: Callable[[], object] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.repository: Final = repository
        self._tokens = tokens
        self._forget = forget
        self._clock = clock
        self._rests_until = float("-inf")

    def pull(self, engine: Engine, key: str, check: Callable[[], object]) -> Optional[str]:
        """The name of the image that was pushed under ``key``, now on this instance; None where there is none."""
        name = f"{self.repository}:{key}"
        query = {"fromImage": self.repository, "tag": key}

        def fetch(headers: Headers) -> None:
            follow(engine, "/images/create", query, seconds=SECONDS, check=check, headers=headers)

        try:
            return name if self._done(fetch) and engine.image(name) is not None else None
        except (EngineError, CloudError) as error:
            if _MISSING.search(str(error)):
                log.info("no image %s: %s", name, error)
            else:
                self._rest(f"the image {name} could not be pulled: {error}")
            return None

    def push(self, engine: Engine, image: str, key: str, check: Callable[[], object]) -> bool:
        """Put an image there under ``key``; whether it is there now, if only because another was first."""
        path = f"/images/{self.repository}/push"

        def send(headers: Headers) -> None:
            engine.call("POST", f"/images/{image}/tag", {"repo": self.repository, "tag": key})
            follow(engine, path, {"tag": key}, seconds=SECONDS, check=check, headers=headers)

        try:
            return self._done(send)
        except (EngineError, CloudError) as error:
            if _TAKEN.search(str(error)):
                return True
            self._rest(f"the image {image} could not be pushed: {error}")
            return False

    def _done(self, act: Callable[[Headers], None]) -> bool:
        """Act, a second time where the password was refused: it may have ended. False while the registry rests."""
        if self._clock() < self._rests_until:
            return False
        try:
            act(self._headers())
        except EngineError as error:
            if not _REFUSED.search(str(error)):
                raise
            self._forget()
            act(self._headers())
        return True

    def _rest(self, why: str) -> None:
        log.warning("%s; the registry is not asked for %.0f seconds", why, REST)
        self._rests_until = self._clock() + REST

    def _headers(self) -> Headers:
        user, password = self._tokens()
        who = {"username": user, "password": password, "serveraddress": self.repository.partition("/")[0]}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(who).encode()).decode()}


def digest_key(image_id: str) -> str:
    """The tag under which an image is found by its id."""
    return image_id.replace(":", "-")
