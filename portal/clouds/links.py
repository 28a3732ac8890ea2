"""Linking an account of one's own: begin, check, exchange the ExternalId, unlink. No key is ever asked for."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.events import account_unlinked
from portal.clouds.models import CloudAccount
from portal.clouds.permissions import REGISTRY
from portal.clouds.role_check import Finding, has_registry, passed, region_fitting, role_examine
from portal.clouds.selectors import Living, account_of_role, accounts_of, living_in, numbers_admitted
from portal.clouds.services import account_handle, external_id_new
from portal.clouds.template import role_name_of
from portal.core.audit import audit
from portal.core.errors import CloudFault, Conflict, Invalid, LimitReached
from portal.core.live import publish_on_commit
from portal.core.states import moved
from portal.gateways import aws_linked, aws_platform
from portal.gateways.aws import Account

logger = logging.getLogger(__name__)
State = CloudAccount.State
MOST_LINKS = 10


def link_start(*, owner: User, name: str, region: str = "") -> CloudAccount:
    """Begin a link: Orca makes an ExternalId. Raises ``Invalid``, ``Conflict`` (name taken) or ``LimitReached``."""
    name, region = " ".join(name.split()), region or settings.AWS_REGION
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Invalid("The link needs a name.", fields={"name": "Give a name of 1 to 80 characters."})
    if not region_fitting(region):
        raise Invalid(
            f"Orca builds in {settings.AWS_REGION} only, where its own queue and bucket are.",
            code="region_unsupported",
            fields={"region": f"Has to be {settings.AWS_REGION}."},
        )
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)
        if accounts_of(owner).count() >= MOST_LINKS:
            raise LimitReached(
                f"You may have {MOST_LINKS} cloud accounts at a time.",
                code="too_many_cloud_accounts",
                hint="Unlink one that you no longer need.",
            )
        if CloudAccount.objects.filter(owner=owner, claimed_name=name).exists():
            raise Conflict(
                f"You already have a cloud account called {name}.", code="name_taken", fields={"name": "already taken"}
            )
        account = CloudAccount.objects.create(
            owner=owner,
            name=name,
            claimed_name=name,
            state=State.PENDING,
            region=region,
            external_id=external_id_new(),
        )
        audit("cloud_account.start", account, by=owner)
        _announce(account)
    return account


def link_check(*, account: CloudAccount, by: User | None, role: str = "") -> CloudAccount:
    """Examine the role, step by step, and link the account if all is well; ``account.checks`` says what was found.

    ``role`` is the role's ARN, or the twelve digits of the account where it has the name that Orca proposed. Raises
    ``Invalid``, ``Conflict`` and, where AWS does not answer, ``CloudFault``; the account is then as it was.
    """
    _open_check(account)
    candidate = _candidate(account, role)
    findings = role_examine(candidate, indispensable=_indispensable(account))
    if passed(findings):
        findings.append(_admit(candidate.number))
    fine = passed(findings)
    linked_before = account.linked_at is not None
    fields: dict[str, Any] = {"checks": [f.as_row() for f in findings], "checked_at": timezone.now()}
    if fine or not linked_before:  # a role that does not work never takes the place of one that does
        fields |= _role_fields(account, candidate)
    if fine:
        fields["registry"] = has_registry(findings)
    if fine and not linked_before:
        fields["linked_at"] = timezone.now()
    replaced = candidate.role_arn == account.role_arn or not linked_before
    target = State.LINKED if fine else State.BROKEN if linked_before and replaced else account.state
    try:
        with transaction.atomic():
            if not moved(account, CloudAccount.TRANSITIONS, target, **fields):
                account.refresh_from_db()
                raise Conflict("The account was unlinked meanwhile.", code="account_unlinked")
            audit("cloud_account.check", account, by=by, found=target, role=candidate.role_arn)
            _announce(account)
    except IntegrityError as error:
        raise Conflict(
            "You have linked this role already.", code="role_taken", fields={"role": "linked already"}
        ) from error
    return account


def _indispensable(account: CloudAccount) -> frozenset[str]:
    """What Terraform has made there already, it has to reach ever after."""
    has_made = settings.IMAGE_REGISTRY and account.registry and living_in(account)
    return frozenset({REGISTRY}) if has_made else frozenset()


def _open_check(account: CloudAccount) -> None:
    if account.state == State.UNLINKED:
        raise Conflict("This account was unlinked.", code="account_unlinked", hint="Link it anew.")


def _candidate(account: CloudAccount, role: str) -> Account:
    """The role that is to be looked at. Raises ``Invalid``, ``Conflict``."""
    role = role.strip() or account.role_arn
    if role.isascii() and role.isdigit() and len(role) == 12:
        role = f"arn:aws:iam::{role}:role/{role_name_of(account)}"
    number = account_of_role(role)
    if not number:
        raise Invalid(
            "Which role is Orca to use?" if not role else "This is not the ARN of a role.",
            code="role_unreadable",
            hint="It looks like arn:aws:iam::123456789012:role/orca-link; the account's twelve digits do as well.",
            fields={"role": "neither a role's ARN nor an account's twelve digits"},
        )
    if number == aws_platform.own_account_id():
        raise Invalid(
            "This is Orca's own account.", code="own_account", fields={"role": "Name a role in an account of yours."}
        )
    if account.linked_at is not None and number != account.account_id:
        raise Conflict(
            f"{account.name} is account {account.account_id}; workspaces of it cannot move to another.",
            code="another_account",
            hint="Link the other account beside it.",
            fields={"role": f"is not in account {account.account_id}"},
        )
    return Account(number, account.region, role, account.external_id)


def _role_fields(account: CloudAccount, candidate: Account) -> dict[str, Any]:
    return {
        "account_id": candidate.number,
        "role_arn": candidate.role_arn,
        "claimed_role": CloudAccount.claim(account.owner_id, candidate.role_arn),
    }


def _admit(number: str) -> Finding:
    title = "Its instances may report to Orca"
    try:
        aws_linked.instances_admit({*numbers_admitted(), number})
    except CloudFault as fault:
        if fault.retryable:
            raise
        return Finding("reports", title, "failed", fault.message, "An operator looks at the policy of Orca's queue.")
    return Finding("reports", title, "ok", "They may send to Orca's queue and fetch the agent, and nothing more.")


def link_refused(*, account_id: str, why: str) -> None:
    """Note that Orca may no longer assume the role, as somebody just found out who needed it."""
    account = CloudAccount.objects.exclude(owner=None).filter(pk=account_id).first()
    if account is None:
        return
    finding = Finding("role", "Orca may assume the role", "failed", why, "Mend the role, then check again.")
    fields = {"checks": [finding.as_row()], "checked_at": timezone.now()}
    if moved(account, CloudAccount.TRANSITIONS, State.BROKEN, among=[State.LINKED], **fields):
        audit("cloud_account.refused", account, by=None)
        _announce(account)


# --- exchanging the ExternalId -----------------------------------------------------------------------------------


def rotation_start(*, account: CloudAccount, by: User) -> CloudAccount:
    """Make the next ExternalId; the present one goes on working until ``rotation_finish``. Raises ``Conflict``."""
    if account.state not in {State.LINKED, State.BROKEN}:
        raise Conflict("Only an account that is linked has an ExternalId to exchange.", code="not_linked")
    fresh = external_id_new()
    rows = CloudAccount.objects.filter(pk=account.pk, state=account.state, next_external_id="")
    if not rows.update(next_external_id=fresh):
        raise Conflict(
            "The ExternalId is being exchanged already.", code="rotation_open", hint="Finish it or take it back."
        )
    account.next_external_id = fresh
    audit("cloud_account.rotation_start", account, by=by)
    _announce(account)
    return account


def rotation_finish(*, account: CloudAccount, by: User) -> dict[str, bool]:
    """Try both ExternalIds, and take the new one if, and only if, it works: ``{"old", "new", "switched"}``.

    Raises ``Conflict`` where none is being exchanged, ``CloudFault`` where AWS does not answer.
    """
    if not account.next_external_id:
        raise Conflict("No ExternalId is being exchanged.", code="no_rotation", hint="Begin with a new one.")
    new = aws_linked.role_lets_in(account.role_arn, account.next_external_id)
    old = aws_linked.role_lets_in(account.role_arn, account.external_id)
    without, wrong = aws_linked.role_lets_strangers_in(account.role_arn)
    if without or wrong:
        raise Conflict(
            "The role lets Orca in whatever ExternalId it says, so neither proves anything.",
            code="role_too_open",
            hint="Its trust policy has to demand the ExternalId, with StringEquals on sts:ExternalId.",
        )
    switched = new and _switch(account)
    audit("cloud_account.rotation_check", account, by=by, old=old, new=new, switched=switched)
    if switched:
        _announce(account)
    return {"old": old, "new": new, "switched": switched}


def _switch(account: CloudAccount) -> bool:
    fresh = account.next_external_id
    rows = CloudAccount.objects.filter(pk=account.pk, next_external_id=fresh).exclude(state=State.UNLINKED)
    if not rows.update(external_id=fresh, next_external_id=""):
        return False
    account.external_id, account.next_external_id = fresh, ""
    return True


def rotation_cancel(*, account: CloudAccount, by: User) -> CloudAccount:
    """Take the next ExternalId back; nothing has changed."""
    rows = CloudAccount.objects.filter(pk=account.pk, next_external_id=account.next_external_id)
    if not account.next_external_id or not rows.update(next_external_id=""):
        raise Conflict("No ExternalId is being exchanged.", code="no_rotation")
    account.next_external_id = ""
    audit("cloud_account.rotation_cancel", account, by=by)
    _announce(account)
    return account


# --- the end -----------------------------------------------------------------------------------------------------


def link_end(*, account: CloudAccount, by: User, abandon: bool = False, confirm_name: str = "") -> CloudAccount:
    """Unlink an account. While workspaces live in it, only with ``abandon`` and the account's name repeated.

    Those are then let go: their open runs end, their instances are stopped if the role still lets Orca, and all that
    is there stays in the account and is its owner's. Raises ``Conflict``, ``Invalid``.
    """
    with transaction.atomic():
        CloudAccount.objects.select_for_update().get(pk=account.pk)
        living = living_in(account)
        if living:
            _abandon_check(account, living, abandon=abandon, confirm_name=confirm_name)
        fields: dict[str, Any] = {
            "unlinked_at": timezone.now(),
            "claimed_name": None,
            "claimed_role": None,
            "next_external_id": "",
            "enabled": False,
        }
        if not moved(account, CloudAccount.TRANSITIONS, State.UNLINKED, **fields):
            raise Conflict("This account was unlinked already.", code="account_unlinked")
        audit("cloud_account.unlink", account, by=by, abandoned=[workspace.pk for workspace in living])
        account_unlinked.send(CloudAccount, account=account, by=by)
        _announce(account)
        transaction.on_commit(admission_renew)
    return account


def _abandon_check(account: CloudAccount, living: list[Living], *, abandon: bool, confirm_name: str) -> None:
    names = ", ".join(workspace.name for workspace in living)
    count = "A workspace lives" if len(living) == 1 else f"{len(living)} workspaces live"
    if not abandon:
        raise Conflict(
            f"{count} in {account.name}: {names}.",
            code="workspaces_live_there",
            hint="Destroy them with their data first, or let go of them: what Orca built then stays in your account.",
        )
    if confirm_name.strip() != account.name:
        raise Invalid(
            f"Letting go of {names} cannot be undone.",
            code="confirmation_needed",
            hint=f"Type the account's name, {account.name}, to confirm.",
            fields={"confirm_name": "does not match the account's name"},
        )


def admission_renew() -> None:
    """Have Orca's queue and bucket know exactly the linked accounts; what fails now is made up for at the next check.

    Two at once may overtake each other: who has written looks again, so that the last one leaves what is true.
    """
    try:
        while True:
            numbers = numbers_admitted()
            aws_linked.instances_admit(numbers)
            if numbers_admitted() == numbers:
                return
    except CloudFault as error:
        logger.warning("the policies for linked accounts are behind: %s", error.message)


def is_refused(account: CloudAccount) -> bool:
    """Whether the role does not let Orca in now. What does not answer is no refusal."""
    handle = account_handle(account)
    try:
        return not aws_linked.role_lets_in(handle.role_arn, handle.external_id)
    except CloudFault:
        return False


def _announce(account: CloudAccount) -> None:
    publish_on_commit(f"owner:{account.owner_id}")
