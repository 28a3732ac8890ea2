"""The lines in the documentation that check a signature do so."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.accounts.models import User
from portal.notices import sending, services
from portal.notices.content import TYPES
from scripts.orca.paths import ROOT

from .conftest import Receiver, SubscriptionMaker

PAGE = (ROOT / "docs" / "notifications.md").read_text()


@pytest.mark.django_db
def test_the_lines_that_check_a_signature(hook: SubscriptionMaker, receiver: Receiver, owner: User) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    told: dict[str, Any] = {}
    exec(lines, told)
    subscription = hook()
    secret = services.secret_of(owner=owner, subscription_id=subscription.pk)
    sending.notice_send(notice_id=services.trial_create(subscription=subscription, by=owner).pk)
    (heard,) = receiver.heard
    body = heard.body.encode()
    assert told["is_genuine"](secret, heard.headers, body)
    assert not told["is_genuine"](secret, heard.headers, body + b" ")
    old = heard.headers | {"webhook-timestamp": str(int(heard.headers["webhook-timestamp"]) - 301)}
    assert not told["is_genuine"](secret, old, body)
    after = services.secret_rotate(subscription=subscription, by=owner)
    assert not told["is_genuine"](after, heard.headers, body)


def test_every_type_is_named() -> None:
    for name in TYPES.values():
        assert f"`{name}`" in PAGE
