"""The CBERS example does what its README says, with pictures laid out as the agent lays them out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageChops, ImageStat

from scripts.orca.demo.scene_pictures import picture_save
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.paths import ROOT

EXAMPLE = ROOT / "examples" / "cbers"
SCENE = "CBERS_4_MUX_20190101_150_100"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    images, metadata = tmp_path / "input/images", tmp_path / "input/metadata"
    metadata.mkdir(parents=True)
    for number in range(2):
        folder = images / f"scene-{number}"
        picture_save(folder, number, 0.3)
        (folder / "thumbnail.jpg").rename(folder / f"{SCENE}.jpg")
        for band in folder.glob("*.tif"):
            band.unlink()
        (metadata / f"scene-{number}.json").write_text(json.dumps({"datetime": "2019-01-01T13:23:20Z"}))
    return tmp_path


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    given: Mapping[str, str] = {"ORCA_INPUT": str(folder / "input"), "ORCA_OUTPUT": str(folder / "output"), **variables}
    return subprocess.run(
        [sys.executable, str(EXAMPLE / command[0]), *command[1:]],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **given},
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
    )


def test_blurred_pictures_lie_in_a_folder_for_each_scene(shard: Path) -> None:
    done = run(shard, "blur.py", "--radius", "6")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"scene-0 (2019-01-01T13:23:20Z): {SCENE}-blurred.jpg",
        f"scene-1 (2019-01-01T13:23:20Z): {SCENE}-blurred.jpg",
        "2 pictures done",
    ]
    for number in range(2):
        with (
            Image.open(shard / f"input/images/scene-{number}/{SCENE}.jpg") as before,
            Image.open(shard / f"output/scene-{number}/{SCENE}-blurred.jpg") as after,
        ):
            assert (after.size, after.format) == (before.size, "JPEG")
            assert sharpness(after) < 0.7 * sharpness(before)


def sharpness(picture: Image.Image) -> float:
    grey = picture.convert("L")
    return float(ImageStat.Stat(ImageChops.difference(grey, ImageChops.offset(grey, 1, 0))).mean[0])


def test_small_pictures_keep_their_proportions(shard: Path) -> None:
    assert run(shard, "shrink.py", "--width", "200").returncode == 0
    with Image.open(shard / f"output/scene-1/{SCENE}-small.jpg") as small:
        assert small.size == (200, 190)
    assert run(shard, "shrink.py", "--width", "2000").returncode == 0
    with Image.open(shard / f"output/scene-1/{SCENE}-small.jpg") as same:
        assert same.size == (730, 695)


def test_what_is_no_picture_is_left_out_and_what_is_broken_is_named(shard: Path) -> None:
    folder = shard / "input/images/scene-0"
    (folder / "metadata.xml").write_text("<prdf/>")
    assert run(shard, "shrink.py").returncode == 0
    whole = (folder / f"{SCENE}.jpg").read_bytes()
    (folder / f"{SCENE}.jpg").write_bytes(whole[:20_000])
    done = run(shard, "shrink.py")
    assert done.returncode == 1
    assert f"scene-0/{SCENE}.jpg: image file is truncated" in done.stderr
    assert "scene-1 (" in done.stdout  # the others are done all the same


def test_without_a_picture_it_says_what_may_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "input/images/x").mkdir(parents=True)
    (tmp_path / "input/images/x/x.xml").write_text("<x/>")
    done = run(tmp_path, "blur.py")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no picture in ")
    assert "assets" in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_of_a_job_it_says_what_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path, "blur.py", ORCA_INPUT="")
    assert (done.returncode, "$ORCA_INPUT is not set" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "command", [("blur.py", "--radius", "0"), ("blur.py", "--radius", "nan"), ("shrink.py", "--width", "-5")]
)
def test_arguments_that_make_no_sense_are_refused(shard: Path, command: tuple[str, ...]) -> None:
    done = run(shard, *command)
    assert (done.returncode, "usage:" in done.stderr) == (2, True)
    assert not (shard / "output").exists()


def test_the_job_asks_for_the_data_that_the_description_has() -> None:
    job = yaml.safe_load((EXAMPLE / "job.yaml").read_text())
    assert job["data"] == json.loads((EXAMPLE / "data.json").read_text())
    assert job["arguments"][0] in (EXAMPLE / f"{job['script']}.py").read_text()
    assert (EXAMPLE / job["container"]["dockerfile"]).read_text().count("\nFROM orca/python\n") == 1


def test_the_description_fits_the_small_sky(tmp_path: Path) -> None:
    made = catalogue_make(tmp_path, paths=(150, 151), rows=(100,), dates=(date(2019, 1, 27),), pictures=0)
    asked = json.loads((EXAMPLE / "data.json").read_text())
    (west, south), (east, north) = asked["bbox"]
    for item in made.items:
        box = item["bbox"]
        assert box[0] <= east and west <= box[2] and box[1] <= north and south <= box[3]
        assert asked["time"][0] <= item["properties"]["datetime"] <= asked["time"][1]
        assert item["collection"] in asked["collections"]
        assert set(asked["assets"]) <= set(item["assets"])


def test_the_same_pillow_as_everywhere() -> None:
    pinned = next(
        line.split()[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("pillow==")
    )
    assert pinned in (EXAMPLE / "requirements.txt").read_text().splitlines()
