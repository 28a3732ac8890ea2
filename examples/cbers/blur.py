"""Blurs every picture of a shard: ``blur.py --radius 4``."""

import argparse
import time

import items
from PIL import Image, ImageFilter

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--radius", type=float, default=4, help="in pixels (default: %(default)s)")
parser.add_argument("--wait", type=float, default=0, help="seconds before each picture, to see how nodes help")
given = parser.parse_args()
if not 0 < given.radius <= 100:
    parser.error(f"--radius is {given.radius:g}; it has to be above 0 and at most 100")
if not 0 <= given.wait <= 60:
    parser.error(f"--wait is {given.wait:g}; it has to be from 0 to 60")


def blurred(picture: Image.Image) -> Image.Image:
    """The picture, blurred."""
    time.sleep(given.wait)
    return picture.filter(ImageFilter.GaussianBlur(given.radius))


items.process(blurred, "blurred")
