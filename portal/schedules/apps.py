from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "portal.schedules"

    def ready(self) -> None:
        from portal.schedules import receivers

        receivers.connect()
