"""What moto computes anew for every request though it never changes: a third of a short call's time."""

from __future__ import annotations

import functools
from typing import Any

import moto.backends
import moto.core.responses
import moto.core.utils
import moto.sqs.models

from agents.local_cloud.patching import replace


def apply() -> None:
    """Put the mend in place."""
    packages = tuple(moto.backends.list_of_moto_modules())
    replace(moto.backends, "list_of_moto_modules", lambda: packages)
    underscores = functools.lru_cache(maxsize=8192)(moto.core.utils.camelcase_to_underscores)
    for module in (moto.core.responses, moto.sqs.models):
        replace(module, "camelcase_to_underscores", underscores)
    names: Any = functools.lru_cache(maxsize=1024)(moto.core.utils.method_names_from_class)
    replace(moto.core.responses, "method_names_from_class", names)
