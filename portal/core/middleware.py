"""Where a request comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

_PROXYS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PORT")


class ClientAddressMiddleware:
    """Makes ``REMOTE_ADDR`` the one word on who is asking: lockouts, rates and the audit trail count by it.

    Anyone can send ``X-Forwarded-For``. Only behind a proxy does it count, and then only its last address, which is
    the one that the proxy itself wrote. After that it is gone: Django REST framework, auditlog and allauth each
    believe it in a way of their own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        forwarded, *_ = [request.META.pop(name, "") for name in _PROXYS]
        if settings.BEHIND_PROXY and (address := _address(forwarded.rpartition(",")[2])):
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _address(text: str) -> str:
    """The address in ``1.2.3.4``, ``1.2.3.4:80``, ``::1`` or ``[::1]:80``; empty where there is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""
