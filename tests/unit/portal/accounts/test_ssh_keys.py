"""Adding and removing keys, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from auditlog.models import LogEntry
from pytest_django import DjangoCaptureOnCommitCallbacks

from portal.accounts import services
from portal.accounts.events import ssh_keys_changed
from portal.accounts.models import SshKey, User
from portal.accounts.selectors import authorized_keys_of, ssh_keys_of
from portal.core.errors import Conflict, LimitReached, NotFound

Line = Callable[..., str]


def test_a_key_is_kept_without_its_comment_and_named_by_it(owner: User, public_key: Line) -> None:
    line = public_key(comment="ada@laptop")
    key = services.ssh_key_add(owner=owner, name="", public_key=line)
    assert key.name == "ada@laptop"
    assert key.public_key == " ".join(line.split()[:2])
    assert authorized_keys_of(owner.id) == [line]


def test_a_name_cannot_smuggle_a_line_into_authorized_keys(owner: User, public_key: Line) -> None:
    services.ssh_key_add(owner=owner, name="x\nssh-ed25519 AAAA evil", public_key=public_key())
    (line,) = authorized_keys_of(owner.id)
    assert len(line.splitlines()) == 1


def test_others_hear_of_a_change_once_it_can_be_seen(
    owner: User,
    public_key: Line,
    heard: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as later:
        key = services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
        services.ssh_key_remove(owner=owner, key_id=key.id)
    assert heard == []
    for callback in later:
        callback()
    assert heard == [owner.id, owner.id]


def test_a_listener_that_fails_does_not_lose_the_key(
    owner: User, public_key: Line, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the bucket is not there")

    ssh_keys_changed.connect(fail, weak=False)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    finally:
        ssh_keys_changed.disconnect(fail)
    assert ssh_keys_of(owner).count() == 1


def test_a_key_is_added_once_whatever_its_name(owner: User, outsider: User, public_key: Line) -> None:
    services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    with pytest.raises(Conflict) as caught:
        services.ssh_key_add(owner=owner, name="other", public_key=public_key(comment="") + " again")
    assert caught.value.code == "key_exists"
    services.ssh_key_add(owner=outsider, name="laptop", public_key=public_key())


def test_there_is_a_limit(owner: User, public_key: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_SSH_KEYS", 1)
    services.ssh_key_add(owner=owner, name="one", public_key=public_key())
    with pytest.raises(LimitReached):
        services.ssh_key_add(owner=owner, name="two", public_key=public_key("ecdsa", 256))


def test_only_its_owner_removes_a_key(owner: User, outsider: User, public_key: Line) -> None:
    key = services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    with pytest.raises(NotFound):
        services.ssh_key_remove(owner=outsider, key_id=key.id)
    assert SshKey.objects.filter(pk=key.pk).exists()


def test_an_account_that_is_switched_off_opens_nothing(
    owner: User,
    public_key: Line,
    heard: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    services.api_token_add(owner=owner, name="cli")
    with django_capture_on_commit_callbacks(execute=True):
        services.user_activate(user=owner, active=False)
    assert authorized_keys_of(owner.id) == []
    assert heard == [owner.id]
    services.user_activate(user=owner, active=True)
    assert len(authorized_keys_of(owner.id)) == 1


def test_the_audit_trail_has_it(owner: User, public_key: Line) -> None:
    key = services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    services.ssh_key_remove(owner=owner, key_id=key.id)
    actions = LogEntry.objects.filter(object_pk=key.pk).order_by("id").values_list("action", flat=True)
    assert list(actions) == [LogEntry.Action.CREATE, LogEntry.Action.DELETE]
