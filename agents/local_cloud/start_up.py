"""What makes a start quick: moto's imports read the same large files again and again, and make many small objects."""

from __future__ import annotations

import gc
from typing import Any

import botocore.loaders

from agents.local_cloud.patching import replace


def hurry() -> None:
    """Before anything of moto is imported: no garbage collection for now, and each of botocore's files once only."""
    gc.disable()
    read: dict[str, Any] = {}
    original = botocore.loaders.JSONFileLoader.load_file

    def load_file(loader: Any, path: str) -> Any:
        if path not in read:
            read[path] = original(loader, path)
        return read[path]

    replace(botocore.loaders.JSONFileLoader, "load_file", load_file)


def settle() -> None:
    """After the start: what is there now stays, and need not be looked at by the garbage collector any more."""
    gc.freeze()
    gc.enable()
