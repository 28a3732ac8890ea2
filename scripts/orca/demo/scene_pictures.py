"""Pictures that look like land from above with clouds over it, drawn here so that no test and no demo fetches any."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter, ImageOps

WIDTH = 730
HEIGHT = 695
_BAND = (146, 139)
_OCTAVES = ((4, 0.5), (11, 0.3), (37, 0.15), (120, 0.05))  # how coarse, and its share
# Which colour the land has at a height: water, forest, fields, dry ground, rock; between them it changes slowly.
_LAND = (
    (0, (12, 38, 66)),
    (62, (28, 66, 92)),
    (66, (38, 74, 46)),
    (112, (52, 88, 44)),
    (150, (112, 124, 68)),
    (196, (158, 134, 92)),
    (255, (108, 96, 90)),
)


def picture(seed: int, cloudiness: float) -> tuple[Image.Image, float]:
    """A scene of ``WIDTH`` × ``HEIGHT`` and the share of it that clouds cover, near ``cloudiness`` (0 to 1)."""
    chance = random.Random(seed)  # noqa: S311 (a landscape, and no secret)
    height, grain, sky = _heights(chance), _heights(chance), _heights(chance)
    channels = []
    for channel in range(3):
        table = [_colour(level)[channel] for level in range(256)]
        channels.append(ImageChops.add(height.point(table), grain.point(lambda level: level // 8), scale=1, offset=-16))
    land = Image.merge("RGB", channels).filter(ImageFilter.GaussianBlur(0.6))
    level = _quantile(sky, 1 - cloudiness)
    mask = sky.point([min(255, max(0, (value - level) * 7)) for value in range(256)])
    clouds = Image.merge("RGB", [grain.point(lambda value: 208 + value // 6)] * 3)
    covered = sum(mask.histogram()[128:]) / (WIDTH * HEIGHT)
    return Image.composite(clouds, land, mask), covered


def picture_save(folder: Path, seed: int, cloudiness: float) -> float:
    """Write ``thumbnail.jpg`` and a small ``band-0.tif`` to ``band-3.tif``; returns the share that clouds cover."""
    folder.mkdir(parents=True, exist_ok=True)
    scene, covered = picture(seed, cloudiness)
    scene.save(folder / "thumbnail.jpg", quality=85)
    red, green, blue = scene.resize(_BAND, Image.Resampling.BILINEAR).split()
    infrared = ImageChops.lighter(green, ImageChops.invert(blue))
    for number, band in enumerate((blue, green, red, infrared)):
        band.save(folder / f"band-{number}.tif", compression="tiff_deflate")
    return covered


def _colour(height: int) -> tuple[int, ...]:
    """That of the land at a height from 0 to 255."""
    (low, first), (high, second) = next(pair for pair in pairwise(_LAND) if height <= pair[1][0])
    share = (height - low) / (high - low)
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def _heights(chance: random.Random) -> Image.Image:
    """Hills and valleys, from 0 to 255: noise of several sizes upon each other."""
    total = Image.new("L", (WIDTH, HEIGHT))
    for size, share in _OCTAVES:
        noise = Image.frombytes("L", (size, size), chance.randbytes(size * size))
        smooth = noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total = Image.blend(total, smooth, share / _so_far(size))
    return ImageOps.autocontrast(total)


def _so_far(size: int) -> float:
    """The shares of the octaves up to that one: what is blended in is its part of these."""
    return sum(share for other, share in _OCTAVES if other <= size)


def _quantile(image: Image.Image, share: float) -> int:
    left = share * WIDTH * HEIGHT
    for level, count in enumerate(image.histogram()):
        left -= count
        if left < 0:
            return level
    return 255
