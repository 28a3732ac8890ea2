"""One step: what it needs is fetched, it runs within its limits, what it leaves is stored."""
