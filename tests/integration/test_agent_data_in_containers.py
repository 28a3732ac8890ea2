"""A shard of the CBERS example in a container that its Dockerfile makes, with a real engine and a small sky."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from agents.orca_agent.protocol import Container, Data
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.demo.site import served
from scripts.orca.paths import ROOT

if TYPE_CHECKING:
    from tests.fixtures.containers import Scene

pytest_plugins = ["tests.fixtures.agent", "tests.fixtures.engine", "tests.fixtures.containers"]


def test_the_cbers_example_runs_in_its_container(scene: Scene, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in (ROOT / "examples/cbers").iterdir() if path.is_file()}
    script = scene.cloud.script(files, entrypoint="blur.py")
    with served(tmp_path) as sky:
        made = catalogue_make(
            tmp_path, paths=(150,), rows=(100,), dates=(date(2019, 1, 1), date(2019, 1, 27)), base_url=sky.url
        )
        lines = [
            json.dumps({**item, "assets": {"thumbnail": item["assets"]["thumbnail"]}}) + "\n" for item in made.items
        ]
        body = "".join(lines).encode()
        scene.cloud.s3.put_object(Bucket=scene.cloud.bucket, Key="jobs/sky/items.jsonl", Body=body)
        task = scene.cloud.run(
            script,
            arguments=("--radius", "9"),
            data=Data("jobs/sky/items.jsonl", 0, len(body), len(lines)),
            container=Container(dockerfile="Dockerfile"),
        )
        finished = scene.events.finished(task, timeout=120)
    assert finished.state == "succeeded", (finished, scene.log(task))
    name = made.items[0]["id"]
    assert finished.outputs[0].path == f"{name}/{name.removesuffix('_L2')}-blurred.jpg"
    assert len(finished.outputs) == 2
    stored = scene.cloud.get(f"runs/{task.run}/{task.step}/1/output/{finished.outputs[0].path}")
    with Image.open(io.BytesIO(stored)) as blurred:
        assert (blurred.size, blurred.format) == ((730, 695), "JPEG")
    assert finished.image.startswith("sha256:")
    assert finished.bytes_out == sum(output.size for output in finished.outputs)
    assert finished.bytes_in > len(body) + sum(path.stat().st_size for path in tmp_path.rglob("CBERS*.jpg"))
