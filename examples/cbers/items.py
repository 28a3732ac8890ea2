"""What a shard was given, and where its results go: the part that `blur.py` and `shrink.py` share.

Orca lays a shard's items out below ``$ORCA_INPUT``: ``images/<item>/<file>`` and ``metadata/<item>.json``. What is
written to ``$ORCA_OUTPUT/<item>/`` comes to be listed as that item's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, UnidentifiedImageError


def process(change: Callable[[Image.Image], Image.Image], suffix: str) -> None:
    """Change every picture of the shard and save it. Ends the program with code 1 where one cannot be changed."""
    images, output = _folder("ORCA_INPUT") / "images", _folder("ORCA_OUTPUT")
    done, broken = 0, []
    for path in sorted(images.glob("*/*")):
        item = path.parent.name
        target = output / item / f"{path.stem}-{suffix}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Image.open(path) as picture:
                plain = picture.convert("RGB") if picture.mode in {"1", "P"} else picture
                change(plain).save(target, format=picture.format)
        except UnidentifiedImageError:
            print(f"{item}: {path.name} is no picture, left out", flush=True)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            broken.append(f"{item}/{path.name}: {error}")
        else:
            done += 1
            print(f"{item} ({_taken(item)}): {target.name}", flush=True)
    if broken:
        sys.exit("These pictures cannot be read:\n" + "\n".join(broken))
    if not done:
        sys.exit(f"There is no picture in {images}. Does the data description ask for assets that are pictures?")
    print(f"{done} pictures done")


def _folder(variable: str) -> Path:
    if not os.environ.get(variable):
        sys.exit(f"${variable} is not set: it names a folder. Orca sets it for each shard of a job.")
    return Path(os.environ[variable])


def _taken(item: str) -> str:
    """When it was taken, as its metadata has it."""
    metadata = _folder("ORCA_INPUT") / "metadata" / f"{item}.json"
    if not metadata.is_file():
        return "time unknown"
    known = json.loads(metadata.read_text(encoding="utf-8"))
    return str(known.get("datetime") or known.get("properties", {}).get("datetime") or "time unknown")
