from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "portal.core"

    def ready(self) -> None:
        """Have the checks known."""
        from portal.core import checks  # noqa: F401
