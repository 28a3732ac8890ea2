"""What goes wrong with Terraform, in words for people: whose move it is, whether to try again, what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from portal.core.errors import OrcaError

Fault = Literal["person", "account", "operator", "cloud", "orca"]


@dataclass(frozen=True)
class Diagnostic:
    """An error or a warning that Terraform reported, with the address of the resource it is about."""

    severity: str
    summary: str
    detail: str
    address: str | None = None

    @property
    def text(self) -> str:
        return f"{self.summary}: {self.detail}" if self.detail else self.summary


@dataclass(frozen=True)
class LockHolder:
    """Who holds the lock of a state. ``who`` is ``user@host``, ``created`` the moment of locking in UTC."""

    lock_id: str
    who: str
    operation: str
    created: datetime | None


class TerraformError(OrcaError):
    """Terraform failed.

    ``fault`` tells whose move it is: the person's (a wrong wish), the owner's of the cloud account, the operator's of
    this Orca, the cloud's, or Orca's own. ``retryable`` tells whether the same call may work later. ``detail`` is what
    Terraform itself said.
    """

    status = 502
    code = "terraform_failed"
    #: Whether Terraform may have made things that it could not write into its state any more.
    state_lost = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        detail: str = "",
        fault: Fault = "orca",
        retryable: bool = False,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.detail = detail
        self.fault: Fault = fault
        self.retryable = retryable


class TerraformLocked(TerraformError):
    """Another Terraform works on this state, or one that was killed left its lock behind."""

    status = 409
    code = "terraform_locked"

    def __init__(self, holder: LockHolder | None, *, detail: str = "") -> None:
        who = f"{holder.who} ({holder.operation})" if holder else "another process"
        since = f" since {holder.created:%Y-%m-%d %H:%M:%S} UTC" if holder and holder.created else ""
        super().__init__(
            f"Terraform's state of this workspace is locked by {who}{since}.",
            hint="It is free again when that run ends. If that run is known to be dead, its lock can be broken.",
            detail=detail,
            fault="operator",
            retryable=True,
        )
        self.holder = holder


class TerraformCancelled(TerraformError):
    """The run was stopped on request; what Terraform had finished by then is in the state."""

    status = 409
    code = "terraform_cancelled"

    def __init__(self, message: str = "The Terraform run was cancelled.", *, detail: str = "") -> None:
        super().__init__(
            message, hint="Apply again to bring the workspace into a whole state.", detail=detail, fault="person"
        )


class TerraformTimeout(TerraformError):
    """Terraform took longer than it may."""

    status = 504
    code = "terraform_timeout"

    def __init__(self, command: str, seconds: float, *, detail: str = "") -> None:
        super().__init__(
            f"Terraform's {command} was stopped because it took longer than {seconds:.0f} seconds.",
            hint="Apply again: what it had finished is kept, and the rest is taken up where it stopped.",
            detail=detail,
            fault="cloud",
            retryable=True,
        )


class TerraformKilled(TerraformError):
    """Terraform was ended from outside, without a chance to end in order."""

    code = "terraform_killed"
    state_lost = True

    def __init__(self, command: str, signal: int, *, detail: str = "") -> None:
        super().__init__(
            f"Terraform's {command} was killed (signal {signal}); the machine may be short of memory.",
            hint="Apply again: what it had made is found and taken over.",
            detail=detail,
            fault="operator",
            retryable=True,
        )


@dataclass(frozen=True)
class _Cause:
    pattern: re.Pattern[str]
    code: str
    message: str
    hint: str
    fault: Fault
    retryable: bool = False


def _cause(pattern: str, code: str, message: str, hint: str, fault: Fault, *, retryable: bool = False) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE | re.DOTALL), code, message, hint, fault, retryable)


# The first that fits is taken: what is more certain comes first. A refused role behind an unreachable endpoint is an
# unreachable endpoint, but missing credentials show as an unreachable metadata service.
_CAUSES = (
    _cause(
        r"failed to (?:save|persist) state|errored\.tfstate",
        "terraform_state_unsaved",
        "Terraform did its work, but could not save its state.",
        "Apply again: what it had made is found and taken over.",
        "cloud",
        retryable=True,
    ),
    _cause(
        r"no valid credential sources|unable to locate credentials|no EC2 IMDS role found"
        r"|failed to refresh cached credentials",
        "terraform_no_credentials",
        "Orca has no AWS credentials to run Terraform with.",
        "An operator sets AWS credentials in Orca's environment, or gives its machine a role.",
        "operator",
    ),
    _cause(
        r"could not connect to the endpoint|timeout on endpoint|connection was closed"
        r"|no such host|connection refused|connection reset|network is unreachable|i/o timeout|TLS handshake"
        r"|dial tcp|request send failed",
        "terraform_unreachable",
        "Terraform could not reach the cloud.",
        "Check that the cloud's endpoint (AWS_ENDPOINT_URL, if it is set) answers from the worker, then apply again.",
        "cloud",
        retryable=True,
    ),
    _cause(
        r"cannot assume IAM role|sts:AssumeRole|operation error STS: AssumeRole",
        "terraform_role_refused",
        "The cloud account's role did not let Orca in.",
        "The owner of the cloud account checks that the role exists and that its trust policy names Orca's account "
        "and the ExternalId that Orca shows.",
        "account",
    ),
    _cause(
        r"InvalidClientTokenId|ExpiredToken|SignatureDoesNotMatch|InvalidAccessKeyId|AuthFailure"
        r"|security token included in the request is (?:invalid|expired)",
        "terraform_bad_credentials",
        "The cloud does not accept the credentials that Orca runs Terraform with.",
        "An operator renews Orca's AWS credentials.",
        "operator",
    ),
    _cause(
        r"state data in S3 does not have the expected content|NoSuchBucket|S3 bucket .* does not exist",
        "terraform_state_unreadable",
        "Terraform's state could not be read.",
        "An operator checks Orca's state bucket; it keeps older versions of every state.",
        "operator",
    ),
    _cause(
        r"AccessDenied|UnauthorizedOperation|not authorized to perform|StatusCode: 403|Forbidden",
        "terraform_denied",
        "The cloud account does not allow something that the workspace needs.",
        "The owner of the cloud account adds the permission to the role that Orca uses.",
        "account",
    ),
    _cause(
        r"Throttling|RequestLimitExceeded|SlowDown|TooManyRequests|StatusCode: 503",
        "terraform_busy",
        "The cloud answers too slowly or too rarely at the moment.",
        "Apply again in a few minutes.",
        "cloud",
        retryable=True,
    ),
    _cause(
        r"VcpuLimitExceeded|InstanceLimitExceeded|TooManyBuckets|VolumeLimitExceeded|LimitExceeded|QuotaExceeded"
        r"|MaxSpotInstanceCountExceeded",
        "terraform_quota",
        "A quota of the cloud account is used up.",
        "Free something in the account, choose a smaller instance, or ask AWS for a higher quota.",
        "account",
    ),
    _cause(
        r"InsufficientInstanceCapacity|InsufficientHostCapacity",
        "terraform_no_capacity",
        "AWS has no instance of this type to give at the moment.",
        "Try again later, or choose another instance type.",
        "cloud",
        retryable=True,
    ),
    _cause(
        r"InvalidInstanceType|no subnet in a zone that offers|instance type .* (?:not supported|does not exist)",
        "terraform_instance_type",
        "This instance type is not available in the workspace's region.",
        "Choose another instance type.",
        "person",
    ),
    _cause(
        r"VPCIdNotSpecified|DefaultVpcDoesNotExist|no default VPC",
        "terraform_no_default_vpc",
        "The cloud account has no default network in this region.",
        "The owner of the cloud account makes a default VPC in the region: aws ec2 create-default-vpc.",
        "account",
    ),
    _cause(
        r"BucketNotEmpty",
        "terraform_bucket_not_empty",
        "The workspace's bucket still holds data, so it was not destroyed.",
        "Destroy the workspace first and its data then: destroying data is a step of its own.",
        "person",
    ),
    _cause(
        r"BucketAlreadyExists|BucketAlreadyOwnedByYou|EntityAlreadyExists|QueueAlreadyExists|InvalidGroup\.Duplicate",
        "terraform_exists",
        "Something with the workspace's name is there already, and Terraform does not know it.",
        "An interrupted run may have left it behind: an operator imports it into the state, or removes it.",
        "operator",
    ),
    _cause(
        r"saved plan is stale|plan file can no longer be applied",
        "terraform_plan_stale",
        "The workspace has changed since this plan was made, so it was not applied.",
        "Make a new plan.",
        "orca",
        retryable=True,
    ),
    _cause(
        r"failed to query available provider packages|required plugins are not installed|failed to install provider"
        r"|inconsistent dependency lock file|no available releases match|provider registry|failed to load plugin",
        "terraform_no_provider",
        "Terraform did not find its AWS provider.",
        "An operator runs: python -m portal.gateways.terraform_mirror --out DIR",
        "operator",
    ),
    _cause(
        r"invalid value for variable|no value for required variable|value for undeclared variable",
        "terraform_variable",
        "A setting of the workspace is not acceptable.",
        "Correct the setting and apply again.",
        "person",
    ),
    _cause(
        r"no space left on device|cannot allocate memory",
        "terraform_no_room",
        "The machine that runs Terraform is out of disk or memory.",
        "An operator makes room on the worker.",
        "operator",
        retryable=True,
    ),
)

_LOCKED = re.compile(r"error acquiring the state lock", re.IGNORECASE)
_LOCK_FIELD = re.compile(r"^\s*(ID|Who|Operation|Created):\s*(.+?)\s*$", re.MULTILINE)
_ORNAMENT = re.compile(r"\x1b\[[0-9;]*m|^[│╷╵] ?", re.MULTILINE)
_ACTION = re.compile(r"not authorized to perform:? \[?([a-z0-9-]+:\w+)", re.IGNORECASE)


def error_from(command: str, diagnostics: Sequence[Diagnostic], rest: str = "") -> TerraformError:
    """The error that fits what ``command`` reported; ``rest`` is what it wrote outside its diagnostics."""
    errors = [found for found in diagnostics if found.severity == "error"] or diagnostics_from(rest)
    said = "\n".join(found.text for found in errors) or rest.strip()
    for found in errors:
        if _LOCKED.search(found.summary):
            return TerraformLocked(lock_holder_from(found.detail), detail=said)
    for cause in _CAUSES:
        if cause.pattern.search(said):
            error = TerraformError(
                _message(cause, errors, said),
                code=cause.code,
                hint=cause.hint,
                detail=said,
                fault=cause.fault,
                retryable=cause.retryable,
            )
            error.state_lost = cause.code == "terraform_state_unsaved"
            return error
    first = errors[0] if errors else None
    about = f" ({first.address})" if first and first.address else ""
    summary = first.summary.rstrip(".") if first else (said.splitlines() or ["it gave no reason"])[-1]
    return TerraformError(
        f"Terraform's {command} failed: {summary}{about}.",
        hint="Apply again. If it fails in the same way, an operator reads the run's log.",
        detail=said,
    )


def diagnostics_from(text: str) -> list[Diagnostic]:
    """The errors in the plain text of a command that cannot report in JSON, without their frames and colours."""
    parts = re.split(r"^Error: ", _ORNAMENT.sub("", text), flags=re.MULTILINE)[1:]
    found = (part.strip().partition("\n") for part in parts)
    return [Diagnostic("error", summary.strip(), detail.strip()) for summary, _, detail in found]


def _message(cause: _Cause, errors: Sequence[Diagnostic], said: str) -> str:
    if cause.code == "terraform_denied" and (action := _ACTION.search(said)):
        return f"The cloud account does not allow {action.group(1)}, which the workspace needs."
    if cause.code == "terraform_variable" and errors and errors[0].detail:
        return f"{cause.message[:-1]}: {errors[0].detail.split(chr(10) * 2, 1)[0]}"
    return cause.message


def lock_holder_from(detail: str) -> LockHolder | None:
    """The holder that Terraform names in a refusal, if it names one."""
    fields = dict(_LOCK_FIELD.findall(detail))
    if "ID" not in fields:
        return None
    return LockHolder(
        lock_id=fields["ID"],
        who=fields.get("Who", "unknown"),
        operation=fields.get("Operation", "unknown").removeprefix("OperationType"),
        created=moment_from(fields.get("Created", "")),
    )


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*\s*(Z|\+00:?00)")


def moment_from(text: str) -> datetime | None:
    """A UTC moment as Go prints it: RFC 3339 or ``2026-01-02 03:04:05.678901234 +0000 UTC``."""
    found = _MOMENT.match(text)
    if found is None:
        return None
    day, clock, fraction, _ = found.groups()
    return datetime.fromisoformat(f"{day}T{clock}{(fraction or '.0').ljust(7, '0')}+00:00")
