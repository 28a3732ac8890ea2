"""The floor of every page: a Django view that does nothing, with no middleware, served as the portal is."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], MIDDLEWARE=[])


def nothing(request: HttpRequest) -> HttpResponse:
    """A few bytes."""
    return HttpResponse(b"nothing", headers={"Content-Length": "7"})


urlpatterns = [path("", nothing)]
application = get_asgi_application()
