"""Makes every picture of a shard smaller, keeping its proportions: ``shrink.py --width 200``."""

import argparse

import items
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--width", type=int, default=200, help="in pixels (default: %(default)s)")
width = parser.parse_args().width
if not 0 < width <= 10_000:
    parser.error(f"--width is {width}; it has to be from 1 to 10000")


def shrunk(picture: Image.Image) -> Image.Image:
    """The picture at that width; one that is not wider stays as it is."""
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


items.process(shrunk, "small")
