"""Where a job's items come from: a description that a person writes, and what finds the items that it means.

A library without models: ``description.checked``, ``finding.find``, ``preview.preview``.
"""

from portal.jobs.sources.description import Description, checked, schema
from portal.jobs.sources.finding import Access, Report, TimeUp, Unfound, find
from portal.jobs.sources.items import Asset, Item
from portal.jobs.sources.preview import Preview, preview
from portal.jobs.sources.reach import access_of

__all__ = [
    "Access",
    "Asset",
    "Description",
    "Item",
    "Preview",
    "Report",
    "TimeUp",
    "Unfound",
    "access_of",
    "checked",
    "find",
    "preview",
    "schema",
]
