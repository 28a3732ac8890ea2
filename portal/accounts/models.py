"""People, the keys they log in to their instances with, and the tokens their programs use."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils import timezone
from knox.settings import CONSTANTS

from portal.core.ids import new_id
from portal.core.models import Identified
from portal.core.states import Transitions


class LowerCaseEmailField(models.EmailField[str, str]):
    """An address kept and looked up in lower case, so that ``unique`` holds whatever the spelling."""

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return found.lower() if isinstance(found, str) else found

    def get_prep_value(self, value: Any) -> Any:
        found = super().get_prep_value(value)
        return found.lower() if isinstance(found, str) else found


class UserManager(BaseUserManager["User"]):
    """Makes users who log in with their e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person; without a password they can only come in by resetting it."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Somebody who may do everything: approved, and with an address that nobody has to verify."""
        from allauth.account.models import EmailAddress  # needs the user model to be there

        fields |= {"is_staff": True, "is_superuser": True}
        fields.setdefault("approved_at", timezone.now())
        user = self.create_user(email, password, **fields)
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").lower())


class User(Identified, AbstractBaseUser, PermissionsMixin):
    """A person who signed up. They log in with their address; everything else refers to the id."""

    email = LowerCaseEmailField("e-mail address", unique=True, max_length=190)
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField("staff", default=False, help_text="May open the administration pages.")
    is_active = models.BooleanField("active", default=True, help_text="Switch off rather than delete.")
    approved_at = models.DateTimeField(null=True, blank=True, help_text="Empty: waits for approval, if asked for.")
    trial = models.BooleanField(default=False, help_text="Has the quota of a trial, until an operator lifts it.")
    budgeted = models.BooleanField(default=False, editable=False, help_text="Has a budget of their own.")
    signed_up_from = models.GenericIPAddressField(null=True, blank=True, editable=False, db_index=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta(Identified.Meta):
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()

    @property
    def is_approved(self) -> bool:
        """Whether this person may use the cloud: always, unless new people have to be let in first."""
        return not settings.SIGNUP_APPROVAL or self.is_staff or self.approved_at is not None

    def get_full_name(self) -> str:
        """What to call them in a sentence."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """What to call them to their face."""
        return (self.name.split(" ") if self.name else self.email.split("@"))[0]


class SshKey(Identified):
    """A public key that opens every instance of its owner."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=80)
    key_type = models.CharField(max_length=60)
    public_key = models.TextField(help_text="Type and base64, without a comment.")
    fingerprint = models.CharField(max_length=60)

    class Meta(Identified.Meta):
        verbose_name = "SSH key"
        verbose_name_plural = "SSH keys"
        constraints = [models.UniqueConstraint(fields=["owner", "fingerprint"], name="ssh_key_once_per_owner")]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    @property
    def authorized_line(self) -> str:
        """The line for ``authorized_keys``; its comment is the key's name without what a line cannot hold."""
        comment = "".join(c if c.isprintable() else " " for c in self.name).strip()
        return f"{self.public_key} {comment}".strip()


class ApiToken(models.Model):
    """A program's way in, kept as a hash: the token itself is shown once. Knox checks it."""

    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, primary_key=True)
    token_key = models.CharField(max_length=25, db_index=True, help_text="How the token begins.")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="auth_token_set")
    created = models.DateTimeField(auto_now_add=True)
    expiry = models.DateTimeField(null=True, blank=True)
    id = models.CharField(max_length=26, unique=True, default=new_id, editable=False)
    name = models.CharField(max_length=80, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        verbose_name_plural = "API tokens"
        ordering = ["-created", "-id"]

    def __str__(self) -> str:
        return f"{self.name or 'token'} ({self.token_key}…)"


class DeviceLogin(Identified):
    """A program without a browser that asks to be let in: it shows a short code, a person types it on the device page
    and allows it, the program fetches its token (https://www.rfc-editor.org/rfc/rfc8628)."""

    class State(models.TextChoices):
        WAITING = "waiting"
        ALLOWED = "allowed"
        DENIED = "denied"
        TAKEN = "taken"

    secret = models.CharField(max_length=64, unique=True, help_text="SHA-256 of what the program asks with.")
    code = models.CharField(max_length=8, unique=True, help_text="What the person types.")
    name = models.CharField(max_length=80, help_text="What the program calls itself; the token's name.")
    address = models.CharField(max_length=45, blank=True, help_text="Where the program asked from.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="device_logins")
    expires_at = models.DateTimeField(db_index=True)

    TRANSITIONS: ClassVar[Transitions] = {
        "waiting": frozenset({"allowed", "denied"}),
        "allowed": frozenset({"taken"}),
        "denied": frozenset(),
        "taken": frozenset(),
    }

    class Meta(Identified.Meta):
        verbose_name = "device login"

    def __str__(self) -> str:
        return f"{self.name} ({self.shown_code})"

    @property
    def shown_code(self) -> str:
        """The code as people read it: two groups of four."""
        return f"{self.code[:4]}-{self.code[4:]}"
