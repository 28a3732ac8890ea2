from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "portal.usage"

    def ready(self) -> None:
        from portal.usage import budget_admin, receivers  # noqa: F401 the admin looks for one module of an app

        receivers.connect()
