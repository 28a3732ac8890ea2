from django.apps import AppConfig


class CloudsConfig(AppConfig):
    name = "portal.clouds"

    def ready(self) -> None:
        from auditlog.registry import auditlog  # has models of its own, which are not there before now

        auditlog.register(self.get_model("CloudAccount"), exclude_fields=["external_id", "next_external_id"])
