from __future__ import annotations
import os
import pytest
from django.urls import reverse
from portal.jobs.preview import Preview
from tests.fixtures.windows import WindowMaker, chromium, served, window
from .jobs_made import JobMaker, job_made
__all__ = ["chromium", "served", "window", "job_made"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")]
OUT = "/tmp/orca/shots"

def test_shots(window, job_made, monkeypatch):
    os.makedirs(OUT, exist_ok=True)
    import random
    r = random.Random(4)
    foot = []
    for i in range(60):
        x, y = -60 + r.random() * 11, -11.5 + r.random() * 7
        foot.append({"id": f"CBERS_4_MUX_20240{r.randint(1,9)}_{i}", "bbox": [x, y, x + 1, y + 1], "datetime": "2024-06-05T13:00:00Z",
                     "geometry": {"type": "Polygon", "coordinates": [[[x + .1, y], [x + 1.1, y + .15], [x + .95, y + 1.1], [x - .05, y + .95], [x + .1, y]]]}})
    monkeypatch.setattr("portal.web.job_preview.preview", lambda **k: Preview(items=412, bytes=38_000_000, shards=64, footprints=foot, estimate=31_000_000, estimate_most=240_000_000))
    outs = [{"path": f"CBERS_4_MUX_{i}/blurred.jpg", "size": 30000, "content_type": "image/jpeg"} for i in range(3)]
    a = job_made({"succeeded": 30, "running": 4, "failed": 2, "queued": 28}, budget=1_500_000_000, bytes=38_000_000, items=412,
        more={i: {"outputs": outs} for i in range(1, 5)} | {32: {"attempt": 2}, 35: {"message": "It ended with exit code 1.", "attempt": 2, "exit_code": 1}, 36: {"message": "Its instance vanished."}})
    b = job_made({"succeeded": 9000, "running": 64, "failed": 3, "queued": 933}, name="ten thousand", items=100000, nodes=16)
    c = job_made({"succeeded": 14, "failed": 2}, phase="ended", run="failed", name="shrink again", index_key="x", archive_key="y", output_files=140, output_bytes=9_000_000, archive_bytes=8_000_000, message="2 of 16 shards failed. What the others made is there.")
    d = job_made(phase="searching", run="queued", name="just submitted", items=120)
    e = job_made({"succeeded": 40}, phase="ended", run="succeeded", name="done well", index_key="x", archive_key="y", output_files=40, output_bytes=3_000_000, archive_bytes=2_900_000)
    from django.utils import timezone; from datetime import timedelta
    type(c).objects.filter(pk__in=[c.pk, e.pk]).update(expires_at=timezone.now() + timedelta(days=30))
    for width in (1280, 390):
        with window(width=width) as w:
            def shot(name):
                w.page.wait_for_timeout(500)
                wide = w.page.evaluate("""() => [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth && !e.closest('.map')).map((e) => `${e.tagName}.${e.className}`).slice(0, 9)""")
                print(name, width, "TOO WIDE" if wide else "", wide)
                w.page.screenshot(path=f"{OUT}/{name}-{width}.png", full_page=True)
            w.open(reverse("job_list")); shot("list")
            for name, j in (("running", a), ("many", b), ("failed", c), ("searching", d), ("done", e)):
                w.open(reverse("job", args=[j.pk])); shot(name)
            p = w.open(reverse("job_new") + f"?like={a.pk}")
            shot("new")
            p.get_by_role("button", name="Look for the data").click()
            p.wait_for_timeout(800)
            p.locator("#as-yaml summary").click()
            shot("new-preview")
            p.locator("[name=west]").fill("")
            p.get_by_role("button", name="Submit the job").click()
            shot("new-wrong")
            w.complaints.clear()
