from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "portal.usage"

    def ready(self) -> None:
        from auditlog.registry import auditlog  # has models of its own, which are not there before now

        from portal.usage import receivers

        for name in ("Price", "Margin", "Grant"):
            auditlog.register(self.get_model(name))
        receivers.connect()
