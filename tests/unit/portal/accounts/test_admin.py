"""What administrators see and do with people, keys and tokens."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from axes.utils import reset
from django.contrib.auth.models import Permission
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from rest_framework.test import APIClient

from portal.accounts.models import ApiToken, SshKey, User
from portal.accounts.services import api_token_add, ssh_key_add
from tests.people import PASSWORD, api_of, browser_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada@laptop"
PEOPLE = "admin:accounts_user_changelist"


@pytest.fixture
def administrator(db: None) -> User:
    return User.objects.create_superuser("root@example.org", PASSWORD)


@pytest.fixture
def office(administrator: User) -> Client:
    """The administrator's browser."""
    client = Client()
    client.force_login(administrator, backend="django.contrib.auth.backends.ModelBackend")
    return client


def do(office: Client, action: str, *people: User) -> None:
    chosen = {"action": action, "_selected_action": [person.pk for person in people]}
    assert office.post(reverse(PEOPLE), chosen).status_code == 302


def test_the_lists_open_and_are_searched(office: Client, owner: User) -> None:
    key = ssh_key_add(owner=owner, name="laptop", public_key=KEY)
    api_token_add(owner=owner, name="cli")
    lists = {PEOPLE: "ada@", "admin:accounts_sshkey_changelist": "laptop", "admin:accounts_apitoken_changelist": "cli"}
    for name, query in lists.items():
        assert office.get(reverse(name), {"q": query}).context["cl"].result_count == 1
        assert office.get(reverse(name), {"q": "nothing"}).context["cl"].result_count == 0
    page = office.get(reverse("admin:accounts_user_change", args=[owner.pk])).content.decode()
    assert key.fingerprint in page


def test_a_person_is_added_by_address(office: Client) -> None:
    form = {"email": "New@example.org", "name": "", "usable_password": "true"}
    form |= {"password1": PASSWORD, "password2": PASSWORD}
    form |= {"ssh_keys-TOTAL_FORMS": "0", "ssh_keys-INITIAL_FORMS": "0"}
    assert office.post(reverse("admin:accounts_user_add"), form).status_code == 302
    assert User.objects.get(email="new@example.org").check_password(PASSWORD)


def test_who_waits_is_found_and_let_in(office: Client, owner: User, settings: Settings) -> None:
    settings.SIGNUP_APPROVAL = True
    assert "ada@example.org" in office.get(reverse(PEOPLE), {"approval": "waiting"}).content.decode()
    do(office, "approve", owner)
    owner.refresh_from_db()
    assert owner.is_approved
    assert "ada@example.org" not in office.get(reverse(PEOPLE), {"approval": "waiting"}).content.decode()


@pytest.mark.django_db(transaction=True)
def test_who_is_let_in_gets_a_mail(settings: Settings) -> None:
    settings.SIGNUP_APPROVAL = True
    office, owner = Client(), User.objects.create_user("ada@example.org", PASSWORD)
    root = User.objects.create_superuser("root@example.org", PASSWORD)
    office.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    do(office, "approve", owner)
    assert [message.to for message in mail.outbox] == [["ada@example.org"]]


def test_an_account_is_switched_off_and_on(office: Client, administrator: User, owner: User) -> None:
    program = api_of(owner)
    do(office, "switch_off", owner, administrator)
    owner.refresh_from_db()
    administrator.refresh_from_db()
    assert not owner.is_active
    assert administrator.is_active
    assert program.get("/api/v1/me/").status_code == 401
    do(office, "switch_on", owner)
    owner.refresh_from_db()
    assert owner.is_active
    assert not ApiToken.objects.filter(user=owner).exists()


def test_somebody_locked_out_is_let_try_again(office: Client, owner: User, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 1
    login = {"email": "ada@example.org", "password": "wrong"}
    assert APIClient().post("/api/v1/tokens/", login).status_code == 429
    do(office, "unlock", owner)
    assert APIClient().post("/api/v1/tokens/", login | {"password": PASSWORD}).status_code == 201
    reset()


def test_keys_and_tokens_are_neither_made_nor_changed_here(office: Client, owner: User) -> None:
    key = ssh_key_add(owner=owner, name="laptop", public_key=KEY)
    for name in ("sshkey", "apitoken"):
        assert office.get(reverse(f"admin:accounts_{name}_add")).status_code == 403
    office.post(reverse("admin:accounts_sshkey_change", args=[key.pk]), {"public_key": "evil", "name": "evil"})
    key.refresh_from_db()
    assert key.name == "laptop"
    assert key.public_key in KEY


def test_a_key_that_is_removed_here_is_removed_from_the_instances(
    office: Client, owner: User, heard: list[str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        key = ssh_key_add(owner=owner, name="laptop", public_key=KEY)
        office.post(reverse("admin:accounts_sshkey_delete", args=[key.pk]), {"post": "yes"})
        key = ssh_key_add(owner=owner, name="laptop", public_key=KEY)
        chosen = {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"}
        office.post(reverse("admin:accounts_sshkey_changelist"), chosen)
    assert not SshKey.objects.exists()
    assert heard == [owner.id] * 4


def test_administrators_come_in_through_the_same_door(db: None, browser: Client) -> None:
    response = Client().get("/admin/")
    assert response.status_code == 302
    followed = Client().get("/admin/", follow=True)
    assert followed.redirect_chain[-1][0].startswith(reverse("account_login"))
    assert browser.get("/admin/", follow=True).status_code in {403, 200}
    assert b"What is there" not in browser.get("/admin/", follow=True).content


def _saved(office: Client, person: User, **changes: str) -> int:
    """Open a person's page, change something, send it; the answer's status."""
    form = {"email": person.email, "name": person.name}
    form |= {"ssh_keys-TOTAL_FORMS": "0", "ssh_keys-INITIAL_FORMS": "0"}
    return office.post(reverse("admin:accounts_user_change", args=[person.pk]), form | changes).status_code


def test_an_old_address_opens_nothing_once_an_operator_has_changed_it(office: Client, owner: User) -> None:
    assert _saved(office, owner, email="Lovelace@example.org") == 302
    owner.refresh_from_db()
    assert owner.email == "lovelace@example.org"
    for address in ("ada@example.org", "lovelace@example.org"):
        Client().post(reverse("account_reset_password"), {"email": address})
    resets = [message.to for message in mail.outbox if "/password/reset/key/" in message.body]
    assert resets == [["lovelace@example.org"]]
    asked = {"email": "lovelace@example.org", "password": PASSWORD}
    assert APIClient().post("/api/v1/tokens/", asked).json()["code"] == "email_unverified"
    browser = Client()
    browser.post(reverse("account_login"), {"login": "lovelace@example.org", "password": PASSWORD})
    assert "_auth_user_id" not in browser.session
    assert mail.outbox[-1].to == ["lovelace@example.org"]


def test_an_address_stays_verified_when_something_else_is_changed(office: Client, owner: User) -> None:
    assert _saved(office, owner, name="Ada") == 302
    assert EmailAddress.objects.get(user=owner).verified


@pytest.fixture
def clerk(db: None) -> Client:
    """The browser of somebody who may change people, and no more."""
    user = User.objects.create_user("clerk@example.org", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    return browser_of(user)


def test_a_clerk_helps_people(clerk: Client, owner: User) -> None:
    assert _saved(clerk, owner, name="Ada") == 302
    do(clerk, "switch_off", owner)
    owner.refresh_from_db()
    assert (owner.name, owner.is_active) == ("Ada", False)


def test_a_clerk_does_not_hand_out_powers(clerk: Client, owner: User) -> None:
    _saved(clerk, owner, is_staff="on", is_superuser="on", user_permissions="1")
    owner.refresh_from_db()
    assert not (owner.is_staff or owner.is_superuser or owner.user_permissions.exists())


def test_a_clerk_cannot_touch_an_administrator(clerk: Client, administrator: User) -> None:
    assert _saved(clerk, administrator, email="mine@example.org") == 403
    password = reverse("admin:auth_user_password_change", args=[administrator.pk])
    taken = {"password1": "stolen-horse-battery", "password2": "stolen-horse-battery", "usable_password": "true"}
    assert clerk.post(password, taken).status_code == 403
    delete = reverse("admin:accounts_user_delete", args=[administrator.pk])
    assert clerk.post(delete, {"post": "yes"}).status_code == 403
    do(clerk, "switch_off", administrator)
    chosen = {"action": "delete_selected", "_selected_action": [administrator.pk], "post": "yes"}
    clerk.post(reverse(PEOPLE), chosen)
    administrator.refresh_from_db()
    assert (administrator.email, administrator.is_active) == ("root@example.org", True)
    assert administrator.check_password(PASSWORD)


def test_a_superuser_hands_out_powers(office: Client, owner: User) -> None:
    assert _saved(office, owner, is_staff="on") == 302
    owner.refresh_from_db()
    assert owner.is_staff
