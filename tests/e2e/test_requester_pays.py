"""A job over a catalogue in a bucket of others, whose requesters pay: searched, handed out, fetched by the agent."""

from __future__ import annotations

import json
import secrets
from typing import Any

import boto3
import httpx
import pytest

from scripts.orca.bench.installation import Lab, Orca
from tests.fixtures.catalogues import catalog, scene
from tests.fixtures.cloud import ACCOUNTS

pytestmark = pytest.mark.cloud

COPY = """import os, pathlib
top, out = pathlib.Path(os.environ["ORCA_INPUT"]), pathlib.Path(os.environ["ORCA_OUTPUT"])
for path in sorted((top / "images").rglob("*.tif")):
    (out / f"{path.parent.name}.out").write_bytes(path.read_bytes().upper())
"""
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def paid(running_orca: Orca) -> str:
    """The address of a catalogue in a bucket of the second account; everybody may read it, at their own cost."""
    kept = json.loads((running_orca.home / "cloud" / "credentials.json").read_text())["accounts"][ACCOUNTS["second"]]
    keys: dict[str, Any] = {f"aws_{name}": kept[name] for name in ("access_key_id", "secret_access_key")}
    s3 = boto3.client("s3", region_name="eu-central-1", endpoint_url=running_orca.cloud_url, **keys)
    name = f"payer-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    arns = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    read = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": arns}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))
    s3.put_bucket_request_payment(Bucket=name, RequestPaymentConfiguration={"Payer": "Requester"})
    pages: dict[str, Any] = {"catalog.json": catalog("paid", [("item", f"items/{each}.json") for each in NAMES])}
    for each in NAMES:
        pages[f"items/{each}.json"] = scene(each, assets={"B5": {"href": f"../data/{each}.tif"}})
        s3.put_object(Bucket=name, Key=f"data/{each}.tif", Body=f"scene {each}".encode())
    for key, page in pages.items():
        s3.put_object(Bucket=name, Key=key, Body=json.dumps(page).encode())
    return f"s3://{name}/catalog.json"


def submission(lab: Lab, paid: str, **more: Any) -> dict[str, Any]:
    data = {"kind": "stac", "url": paid, "assets": ["B5"], **more}
    return {"name": f"paid-{secrets.token_hex(3)}", "script": lab.script(COPY), "data": data, "nodes": 1}


def ended(lab: Lab, asked: dict[str, Any]) -> Any:
    job = lab.person.post("jobs/", asked)
    return lab.person.until(f"jobs/{job['id']}/", lambda found: found["phase"] == "ended", seconds=120)


def test_who_says_that_they_pay_gets_the_data(lab: Lab, paid: str) -> None:
    asked = submission(lab, paid, requester_pays=True)
    seen = lab.person.post("jobs/preview/", asked)
    assert seen["items"] == len(NAMES)
    job = ended(lab, asked)
    assert (job["state"], job["items"]) == ("succeeded", len(NAMES)), job["message"]
    index = httpx.get(lab.person.get(f"jobs/{job['id']}/outputs/")["url"], trust_env=False).json()
    assert {path for file in index["files"] for path in [file["path"]]} == {f"{each}.out" for each in NAMES}


def test_who_does_not_is_told_which_field_says_it(lab: Lab, paid: str) -> None:
    asked = submission(lab, paid)
    answer = lab.person.api.post("jobs/preview/", json=asked)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["data.requester_pays"]), answer.text
    job = ended(lab, asked)
    assert (job["state"], job["items"]) == ("failed", 0)
    assert "not open to everybody" in job["message"]
