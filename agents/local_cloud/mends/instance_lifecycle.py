"""EC2: what is asked of an instance happens to a machine, and its state follows the machine.

States go as on EC2: pending, running; stopping, stopped; shutting-down, terminated. A reboot stays running.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.responses import instances as run_instances_response
from moto.ec2.responses.general import General
from moto.ec2.utils import filter_iam_instance_profiles
from moto.iam.exceptions import NotFoundException

from agents.local_cloud.access.decisions import permitted
from agents.local_cloud.access.enforcement import current
from agents.local_cloud.access.policies import Request
from agents.local_cloud.faults import Fault, access_denied
from agents.local_cloud.instances.fleet import Fleet, set_private_address, set_public_address
from agents.local_cloud.patching import replace


def apply(fleet: Fleet) -> None:
    """Put the mend in place."""
    _apply_creation(fleet)
    _apply_transitions(fleet)

    def get_console_output(response: Any) -> ActionResult:
        instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))
        text = fleet.console_output(instance.id)
        output = Base64EncodedString.from_raw_string(text)
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    replace(General, "get_console_output", get_console_output)


def _apply_creation(fleet: Fleet) -> None:
    original = InstanceBackend.run_instances

    def run_instances(backend: Any, *args: Any, **options: Any) -> Any:
        if fleet.tools.why_not:
            raise Fault("InsufficientInstanceCapacity", fleet.tools.why_not, 500)
        fleet.forget_terminated(backend)
        profile = _profile(backend, options)
        if profile is not None:
            _require_pass_role(profile)
        reservation = original(backend, *args, **options)
        for number, instance in enumerate(reservation.instances):
            place = fleet.place(instance)
            set_private_address(instance, place.address)
            set_public_address(instance, place.address)
            if profile is not None and number > 0:
                # moto gives the profile to the first one only.
                backend.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_arn=profile.arn)
            fleet.set_state(instance, "pending")
            fleet.command(instance, "boot")
        return reservation

    replace(InstanceBackend, "run_instances", run_instances)
    replace(run_instances_response, "filter_iam_instance_profiles", _profile_found)


def _profile(backend: Any, options: dict[str, Any]) -> Any:
    arn, name = options.get("iam_instance_profile_arn"), options.get("iam_instance_profile_name")
    if not arn and not name:
        return None
    return _profile_found(backend.account_id, backend.partition, arn, name)


def _profile_found(
    account_id: str,
    partition: str,
    iam_instance_profile_arn: str | None,
    iam_instance_profile_name: str | None,
) -> Any:
    """The profile, which must have a role; else EC2's refusal, upon which its clients try again for a while."""
    try:
        profile = filter_iam_instance_profiles(
            account_id, partition, iam_instance_profile_arn, iam_instance_profile_name
        )
    except NotFoundException:
        profile = None
    given = iam_instance_profile_name or iam_instance_profile_arn
    if profile is None:
        message = f"Value ({given}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        raise Fault("InvalidParameterValue", message, 400)
    if not profile.roles:
        raise Fault("InvalidParameterValue", f'IAM Instance Profile "{given}" has no associated IAM Roles', 400)
    return profile


def _require_pass_role(profile: Any) -> None:
    """Whoever gives an instance a role needs iam:PassRole on it (IAM user guide)."""
    call = current()
    if call is None:
        return
    for role in profile.roles:
        context = {**call.context, "iam:passedtoservice": ["ec2.amazonaws.com"]}
        if not permitted(call.caller, Request("iam:PassRole", role.arn, context)):
            raise access_denied(call.caller.arn, "iam:PassRole", role.arn)


def _apply_transitions(fleet: Fleet) -> None:
    start, stop, terminate = Instance.start, Instance.stop, Instance.terminate

    def begin_start(instance: Instance) -> Any:
        if instance.state in ("pending", "running"):
            return instance._state
        _require(instance, "stopped")
        previous = start(instance)
        place = fleet.place(instance)
        set_public_address(instance, place.address)
        instance.launch_time = utcnow()
        fleet.set_state(instance, "pending")
        fleet.command(instance, "boot")
        return previous

    def begin_stop(instance: Instance) -> Any:
        if instance.state in ("stopping", "stopped"):
            return instance._state
        _require(instance, "running", "pending")
        previous = stop(instance)
        fleet.set_state(instance, "stopping")
        fleet.command(instance, "stop")
        return previous

    def begin_terminate(instance: Instance) -> Any:
        if instance.state in ("shutting-down", "terminated"):
            return instance._state
        previous = terminate(instance)
        fleet.set_state(instance, "shutting-down")
        fleet.command(instance, "terminate")
        return previous

    def reboot(instance: Instance) -> None:
        _require(instance, "running", "pending")
        fleet.command(instance, "reboot")

    replace(Instance, "start", begin_start)
    replace(Instance, "stop", begin_stop)
    replace(Instance, "terminate", begin_terminate)
    replace(Instance, "reboot", reboot)


def _require(instance: Instance, *states: str) -> None:
    if instance.state not in states:
        message = f"The instance '{instance.id}' is not in a state from which it can be changed ({instance.state})."
        raise Fault("IncorrectInstanceState", message, 400)
