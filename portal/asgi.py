"""The portal for an ASGI server: ``uvicorn portal.asgi:application``."""

import os

import django
from django.conf import settings

from portal.core.serving import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup(set_prefix=False)

from portal.core.bodies import BodyLimit  # noqa: E402 (needs Django set up)

# Twice what may be uploaded: who is a little above is told so on the page where they chose their files.
application = BodyLimit(Handler(), most_bytes=2 * settings.UPLOAD_LIMIT_MB * 1_000_000)
