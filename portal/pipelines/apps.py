from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "portal.pipelines"

    def ready(self) -> None:
        from portal.pipelines import receivers

        receivers.connect()
