"""The Celery application: ``celery --app portal.celery worker``."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
app = Celery("orca")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
