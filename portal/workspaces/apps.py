from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    name = "portal.workspaces"

    def ready(self) -> None:
        from portal.workspaces import receivers

        receivers.connect()
