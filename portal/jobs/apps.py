from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "portal.jobs"

    def ready(self) -> None:
        from portal.jobs import receivers

        receivers.connect()
