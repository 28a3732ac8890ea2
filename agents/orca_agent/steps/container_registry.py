"""The workspace's image repository: what one instance has built, the others need not build again.

Nothing depends on it: an image that cannot be pulled is built, and one that cannot be pushed stays where it is.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Callable, Dict, Final, Optional, Tuple

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.steps.container_build import follow
from agents.orca_agent.steps.engine import Engine, EngineError

log = logging.getLogger(__name__)

SECONDS: Final = 900.0


class Registry:
    """A ``repository`` without a tag, and who gives user and password for it."""

    def __init__(self, repository: str, tokens: Callable[[], Tuple[str, str]]) -> None:
        self._repository = repository
        self._tokens = tokens

    def pull(self, engine: Engine, key: str, check: Callable[[], object]) -> Optional[str]:
        """The name of the image that was pushed under ``key``, now on this instance; None where there is none."""
        name = f"{self._repository}:{key}"
        try:
            query = {"fromImage": self._repository, "tag": key}
            follow(engine, "/images/create", query, seconds=SECONDS, check=check, headers=self._headers())
            return name if engine.image(name) is not None else None
        except (EngineError, CloudError) as error:
            log.info("no image %s: %s", name, error)
            return None

    def push(self, engine: Engine, image: str, key: str, check: Callable[[], object]) -> None:
        """Put an image there under ``key``."""
        try:
            engine.call("POST", f"/images/{image}/tag", {"repo": self._repository, "tag": key})
            path = f"/images/{self._repository}/push"
            follow(engine, path, {"tag": key}, seconds=SECONDS, check=check, headers=self._headers())
        except (EngineError, CloudError) as error:
            log.warning("the image %s could not be pushed: %s", image, error)

    def _headers(self) -> Dict[str, str]:
        user, password = self._tokens()
        who = {"username": user, "password": password, "serveraddress": self._repository.partition("/")[0]}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(who).encode()).decode()}


def digest_key(image_id: str) -> str:
    """The tag under which an image is found by its id."""
    return image_id.replace(":", "-")
