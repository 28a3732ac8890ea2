from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "portal.accounts"

    def ready(self) -> None:
        from auditlog.registry import auditlog  # has models of its own, which are not there before now

        auditlog.register(self.get_model("User"), exclude_fields=["password", "last_login"])
        auditlog.register(self.get_model("SshKey"))
        auditlog.register(self.get_model("ApiToken"), exclude_fields=["digest", "last_used_at"])
