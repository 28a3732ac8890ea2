"""Orca's portal: people and intentions. Terraform owns infrastructure, SQS order, S3 data, the agent execution."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
