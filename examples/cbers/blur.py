"""Blurs every picture of a shard: ``blur.py --radius 4``."""

import argparse

import items
from PIL import ImageFilter

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--radius", type=float, default=4, help="in pixels (default: %(default)s)")
radius = parser.parse_args().radius
if not 0 < radius <= 100:
    parser.error(f"--radius is {radius:g}; it has to be above 0 and at most 100")

items.process(lambda picture: picture.filter(ImageFilter.GaussianBlur(radius)), "blurred")
