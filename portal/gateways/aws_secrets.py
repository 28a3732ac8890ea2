"""Secrets of workspaces in AWS Secrets Manager, in the account of each workspace. They are written, never read."""

from __future__ import annotations

from botocore.exceptions import ClientError

from portal.core.errors import CloudFault
from portal.gateways.aws import Account, client, error_code, translated

ABSENT = "ResourceNotFoundException"
THERE = "ResourceExistsException"
# The name of a secret that was just deleted is not free for some moments.
LEAVING = "InvalidRequestException"


def secret_put(account: Account, workspace_id: str, name: str, value: str) -> None:
    """Make a workspace's secret, or give it another value. Raises ``CloudFault``, which never quotes the value."""
    try:
        with translated("keep the secret"):
            _put(account, workspace_id, name, value)
    except CloudFault as fault:
        if value in fault.message:
            raise CloudFault("Could not keep the secret.", code=fault.code, retryable=fault.retryable) from None
        raise


def _put(account: Account, workspace_id: str, name: str, value: str) -> None:
    """Replaced if it is there, else made; and replaced after all if a rival has made it meanwhile."""
    for attempt, passing in ((_replace, ABSENT), (_create, THERE), (_replace, "")):
        try:
            attempt(account, workspace_id, name, value)
        except ClientError as error:
            if error_code(error) == LEAVING:
                raise CloudFault(
                    f"The secret {name} was deleted a moment ago, and its name is not free yet.",
                    code="secret_leaving",
                    hint="Try again in a minute.",
                    retryable=True,
                ) from error
            if error_code(error) != passing:
                raise
        else:
            return


def _replace(account: Account, workspace_id: str, name: str, value: str) -> None:
    client("secretsmanager", account).put_secret_value(SecretId=_full(workspace_id, name), SecretString=value)


def _create(account: Account, workspace_id: str, name: str, value: str) -> None:
    client("secretsmanager", account).create_secret(
        Name=_full(workspace_id, name),
        Description="A secret of an Orca workspace.",
        SecretString=value,
        Tags=[{"Key": "orca:workspace", "Value": workspace_id}],
    )


def secret_delete(account: Account, workspace_id: str, name: str) -> None:
    """Delete a workspace's secret at once and for good. One that is gone counts as deleted."""
    with translated("delete the secret"):
        try:
            client("secretsmanager", account).delete_secret(
                SecretId=_full(workspace_id, name), ForceDeleteWithoutRecovery=True
            )
        except ClientError as error:
            if error_code(error) != ABSENT:
                raise


def _full(workspace_id: str, name: str) -> str:
    return f"orca/{workspace_id}/{name}"
