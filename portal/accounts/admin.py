"""People, keys and tokens for administrators. What changes a person goes through the services."""

from __future__ import annotations

from typing import Any, cast

from axes.utils import reset
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from portal.accounts.models import ApiToken, SshKey, User
from portal.accounts.services import ssh_key_remove, trial_lift, user_activate, user_approve, user_readdress

_POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


class PersonCreationForm(AdminUserCreationForm[User]):
    """Asks for the address where Django's own asks for a user name."""

    class Meta:
        model = User
        fields = ("email", "name")


class WaitsForApproval(admin.SimpleListFilter):
    """Who has to be let in still."""

    title = "approval"
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting"), ("approved", "Approved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() in ("waiting", "approved"):
            return queryset.filter(approved_at__isnull=self.value() == "waiting")
        return queryset


class SshKeyInline(admin.TabularInline[SshKey, User]):
    """A person's keys, to be seen; the list of keys is where they are removed."""

    model = SshKey
    extra = 0
    can_delete = False
    fields = readonly_fields = ("name", "key_type", "fingerprint", "created_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    """Everybody who signed up. Only superusers hand out powers, and only they touch who has some."""

    list_display = (
        "email",
        "name",
        "keys",
        "is_active",
        "is_staff",
        "approved_at",
        "trial",
        "last_login",
        "created_at",
    )
    list_filter = (WaitsForApproval, "trial", "is_active", "is_staff", "created_at")
    search_fields = ("email", "name", "id")
    ordering = ("-created_at",)
    date_hierarchy = "created_at"
    readonly_fields = ("id", "created_at", "last_login", "approved_at", "is_active", "trial", "signed_up_from")
    filter_horizontal = ("groups", "user_permissions")
    inlines = (SshKeyInline,)
    actions = ("approve", "lift_trial", "switch_off", "switch_on", "unlock")
    add_form = PersonCreationForm
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        (
            "Standing",
            {"fields": ("id", "created_at", "signed_up_from", "last_login", "approved_at", "is_active", "trial")},
        ),
        (
            "Administration",
            {"classes": ("collapse",), "fields": _POWERS},
        ),
    )
    add_fieldsets = (
        (
            None,
            {"classes": ("wide",), "fields": ("email", "name", "usable_password", "password1", "password2")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).annotate(key_count=Count("ssh_keys"))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        found = super().get_readonly_fields(request, obj)
        return found if _is_superuser(request) else (*found, *_POWERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            user_readdress(user=obj)

    @admin.display(description="SSH keys", ordering="key_count")
    def keys(self, person: Any) -> int:
        """How many keys they have."""
        return int(person.key_count)

    @admin.action(description="Let the chosen people in", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Approves and tells them by mail."""
        count = sum(user_approve(user=person) for person in _touchable(request, queryset))
        self.message_user(request, f"Let in: {count}.", messages.SUCCESS)

    @admin.action(description="Lift the trial of the chosen people", permissions=["change"])
    def lift_trial(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """From now on they have everybody's quota and budget."""
        by = cast(User, request.user)
        count = sum(trial_lift(user=person, by=by) for person in _touchable(request, queryset))
        self.message_user(request, f"Off trial: {count}.", messages.SUCCESS)

    @admin.action(description="Switch the chosen accounts off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """No login, token or SSH key of theirs works any more; nothing is deleted."""
        for person in _touchable(request, queryset.exclude(pk=request.user.pk)):
            user_activate(user=person, active=False)
        self.message_user(request, "Switched off. Their workspaces keep running until you stop them.", messages.WARNING)

    @admin.action(description="Switch the chosen accounts on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Undoes it, but for the API tokens: those are gone."""
        for person in _touchable(request, queryset):
            user_activate(user=person, active=True)
        self.message_user(request, "Switched on.", messages.SUCCESS)

    @admin.action(description="Unlock the login of the chosen people", permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Forgets their wrong passwords."""
        for person in _touchable(request, queryset):
            reset(username=person.email)
        self.message_user(request, "They can try again at once.", messages.SUCCESS)


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    """Whoever could set an administrator's password could become one."""
    return person is None or _is_superuser(request) or not (person.is_staff or person.is_superuser)


def _touchable(request: HttpRequest, people: QuerySet[User]) -> list[User]:
    return [person for person in people if _may_touch(request, person)]


@admin.register(SshKey)
class SshKeyAdmin(admin.ModelAdmin[SshKey]):
    """Keys are added by their owners; here they can be looked up and removed."""

    list_display = ("name", "owner", "key_type", "fingerprint", "created_at")
    list_filter = ("key_type", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "fingerprint", "owner__email", "owner__name")
    readonly_fields = ("id", "owner", "name", "key_type", "public_key", "fingerprint", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: SshKey) -> None:
        ssh_key_remove(owner=obj.owner, key_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[SshKey]) -> None:
        for key in queryset.select_related("owner"):
            self.delete_model(request, key)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    """Tokens cannot be read, only revoked."""

    list_display = ("name", "user", "token_key", "created", "expiry", "last_used_at")
    list_filter = ("created", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "token_key", "user__email")
    fields = readonly_fields = ("id", "user", "name", "token_key", "created", "expiry", "last_used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
