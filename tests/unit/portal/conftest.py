"""What every test of the portal may use: an owner, an outsider, and ways in for both."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.accounts.models import User
from tests.people import api_of, browser_of, person


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pages render without ``collectstatic``."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.STATIC_ROOT = Path(tmp_path_factory.getbasetemp()) / "static"
    settings.STATIC_ROOT.mkdir(exist_ok=True)


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    """Hashing slowly is for production."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _fresh_limits() -> None:
    """Rate limits count in the cache, which tests share."""
    cache.clear()


@pytest.fixture
def owner(db: None) -> User:
    return person("ada@example.org")


@pytest.fixture
def outsider(db: None) -> User:
    return person("mallory@example.org")


@pytest.fixture
def api(owner: User) -> APIClient:
    return api_of(owner)


@pytest.fixture
def outsider_api(outsider: User) -> APIClient:
    return api_of(outsider)


@pytest.fixture
def browser(owner: User) -> Client:
    return browser_of(owner)


@pytest.fixture
def outsider_browser(outsider: User) -> Client:
    return browser_of(outsider)
