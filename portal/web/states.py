"""How states look and what they mean in plain words. Never by colour alone: a shape and a word go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.pipelines.models import Run as RunModel


@dataclass(frozen=True)
class Look:
    """A chip: ``tone`` is good, busy, wait, warn, bad or off; ``icon`` a name in icons.svg; ``moves`` turns it."""

    label: str
    tone: str
    icon: str
    moves: bool = False


_UNKNOWN = Look("Unknown", "off", "question-circle-fill")

RUN = {
    "waiting": Look("Waiting", "wait", "circle"),
    "queued": Look("Queued", "wait", "clock"),
    "running": Look("Running", "busy", "arrow-repeat", moves=True),
    "succeeded": Look("Succeeded", "good", "check-circle-fill"),
    "failed": Look("Failed", "bad", "x-circle-fill"),
    "cancelled": Look("Cancelled", "off", "slash-circle-fill"),
    "timed_out": Look("Timed out", "bad", "hourglass-split"),
    "lost": Look("Lost", "bad", "question-circle-fill"),
    "skipped": Look("Skipped", "off", "dash-circle"),
}
WORKSPACE = {
    "requested": Look("Requested", "busy", "arrow-repeat", moves=True),
    "planning": Look("Planning", "busy", "arrow-repeat", moves=True),
    "applying": Look("Building", "busy", "arrow-repeat", moves=True),
    "ready": Look("Ready", "good", "check-circle-fill"),
    "degraded": Look("Degraded", "warn", "exclamation-triangle-fill"),
    "failed": Look("Failed", "bad", "x-circle-fill"),
    "stopping": Look("Stopping", "busy", "arrow-repeat", moves=True),
    "stopped": Look("Stopped", "off", "pause-circle-fill"),
    "destroying": Look("Destroying", "busy", "arrow-repeat", moves=True),
    "destroyed": Look("Destroyed", "off", "slash-circle-fill"),
}
TERRAFORM = {
    "queued": Look("Queued", "wait", "clock"),
    "planning": Look("Planning", "busy", "arrow-repeat", moves=True),
    "planned": Look("Waits for your yes", "warn", "exclamation-circle-fill"),
    "applying": Look("Applying", "busy", "arrow-repeat", moves=True),
    "succeeded": Look("Succeeded", "good", "check-circle-fill"),
    "failed": Look("Failed", "bad", "x-circle-fill"),
    "cancelled": Look("Cancelled", "off", "slash-circle-fill"),
}
INSTANCE = {
    "pending": Look("Starting", "busy", "arrow-repeat", moves=True),
    "running": Look("Running", "good", "check-circle-fill"),
    "unreachable": Look("Silent", "warn", "exclamation-triangle-fill"),
    "stopping": Look("Stopping", "busy", "arrow-repeat", moves=True),
    "stopped": Look("Stopped", "off", "pause-circle-fill"),
    "terminated": Look("Terminated", "off", "slash-circle-fill"),
}
FIRE = {
    "fired": Look("Started", "good", "check-circle-fill"),
    "missed": Look("Missed", "warn", "exclamation-triangle-fill"),
    "refused": Look("Refused", "bad", "slash-circle-fill"),
    "failed": Look("Failed", "bad", "x-circle-fill"),
}
SCHEDULE = {
    "on": Look("On", "good", "clock"),
    "off": Look("Off", "off", "pause-circle-fill"),
    "over": Look("Over", "off", "check-lg"),
}
ACTION = {
    "create": Look("add", "good", "plus-lg"),
    "update": Look("change", "warn", "pencil"),
    "replace": Look("replace", "warn", "arrow-repeat"),
    "delete": Look("remove", "bad", "trash"),
    "read": Look("read", "off", "eye"),
    "no-op": Look("keep", "off", "check-lg"),
}
NOTICE = {
    "waiting": Look("Waiting", "wait", "clock"),
    "sent": Look("Sent", "good", "check-circle-fill"),
    "failed": Look("Given up", "bad", "x-circle-fill"),
}
NOTIFICATION = {
    "on": Look("On", "good", "check-circle-fill"),
    "off": Look("Off", "off", "pause-circle-fill"),
    "failed": Look("The last one did not arrive", "warn", "exclamation-triangle-fill"),
}
CLOUD = {
    "pending": Look("Not linked yet", "wait", "clock"),
    "linked": Look("Linked", "good", "check-circle-fill"),
    "broken": Look("Needs mending", "bad", "x-circle-fill"),
    "unlinked": Look("Unlinked", "off", "slash-circle-fill"),
}
FINDING = {
    "ok": Look("Fine", "good", "check-circle-fill"),
    "failed": Look("Wrong", "bad", "x-circle-fill"),
    "lacking": Look("Works without it", "warn", "exclamation-triangle-fill"),
    "skipped": Look("Not looked at", "off", "dash-circle"),
}
PHASE = {
    "searching": Look("Searching", "busy", "arrow-repeat", moves=True),
    "splitting": Look("Splitting", "busy", "arrow-repeat", moves=True),
    "starting": Look("Starting nodes", "busy", "arrow-repeat", moves=True),
    "running": Look("Running", "busy", "arrow-repeat", moves=True),
    "gathering": Look("Gathering", "busy", "arrow-repeat", moves=True),
}
_KINDS = {
    "run": RUN,
    "phase": PHASE,
    "workspace": WORKSPACE,
    "terraform": TERRAFORM,
    "instance": INSTANCE,
    "action": ACTION,
    "fire": FIRE,
    "schedule": SCHEDULE,
    "notice": NOTICE,
    "notification": NOTIFICATION,
    "cloud": CLOUD,
    "finding": FINDING,
}


def look_of(kind: str, state: str) -> Look:
    """The look of a state: of a run or step, a workspace, a schedule or whatever else ``kind`` names."""
    return _KINDS[kind].get(state, _UNKNOWN)


WORKSPACE_WORDS = {
    "requested": "Waiting for a worker to take it up.",
    "planning": "Terraform works out what has to be made.",
    "applying": "Being built. You can queue runs already: they start by themselves.",
    "ready": "Everything is there and reports.",
    "degraded": "Something in it does not do what it should.",
    "failed": "It could not be built.",
    "stopping": "Its instance is shutting down. Disk and data stay.",
    "stopped": "Its instance is off and costs nothing; disk and data stay.",
    "destroying": "Being taken down.",
    "destroyed": "The instance is gone.",
}
# What helps; what happened is in the step's own message. Agents may send codes that are not known here.
_ADVICE = {
    "exit_code": "The script ended with an error of its own: the last lines of its log usually say why.",
    "signal": "Something killed it, often the script itself or a library of its; the log may say more.",
    "time_limit": "Raise its limit of time, or let it do less at once.",
    "memory_limit": "Raise its limit of memory, or let it work on less at a time.",
    "process_limit": "Raise its limit of processes, or let it start fewer at once.",
    "disk_limit": "Write less, choose a workspace with a larger disk, or put data into the bucket.",
    "output_limit": "Raise its limit of output, or write less into output/.",
    "output_failed": "What it left could not be brought to the bucket. Run it again.",
    "requirements_failed": "The packages in requirements.txt could not be installed: the log shows what pip said.",
    "input_failed": "Retry the run, so that what the steps before it left is brought anew; or make room on its disk.",
    "secret_missing": "Add the secret on the workspace's page, and run it again.",
    "bundle_invalid": "Its files arrived damaged. Upload the script again.",
    "start_failed": "Look at the file that it starts with: is it there, and is it a script?",
    "container_unavailable": "If the instance is new, run it again in a minute. One from before containers has no"
    " engine: destroy the workspace, keep its data, and apply it again.",
    "image_unavailable": "Is the image's name right, and can the instance reach where it is kept?",
    "build_failed": "Its Dockerfile could not be built: the log shows at which line, and why.",
    "agent_failed": "That is a fault of ours, not of your script. Run it again.",
    "instance_lost": "Was the instance stopped or overloaded? Run it again, in a larger workspace perhaps.",
    "input_missing": "Does the step before it write that file into output/? Look at its outputs.",
    "given_up": "Does it use up all memory of the instance? Lower its limit of memory, or choose a larger workspace.",
}
_STATES = {
    "waiting": "It waits for the steps that it needs.",
    "skipped": "It did not run.",
    "queued": "Waiting for a free slot in the workspace.",
    "running": "Its log grows below while it works.",
    "succeeded": "It ended well.",
    "failed": "It failed.",
    "cancelled": "It was cancelled.",
    "timed_out": "It ran longer than its limit, and was stopped.",
    "lost": "Its instance vanished while it ran, and has not come back.",
}


_WAITING = {
    "requested": "Its workspace is still to be built. It begins by itself.",
    "planning": "Its workspace is still to be built. It begins by itself.",
    "applying": "Its workspace is being built. It begins by itself.",
    "stopping": "Its workspace is being stopped. It begins once you start that again.",
    "stopped": "Its workspace is stopped. Start that, and it begins.",
}


def run_words(state: str, workspace_state: str) -> str:
    """What a run's state means, for somebody who sees it for the first time."""
    if state == "queued" and workspace_state in _WAITING:
        return _WAITING[workspace_state]
    return _STATES.get(state, "")


_RUN_STATES = {
    "succeeded": "All steps ended well.",
    "failed": "A step failed.",
    "timed_out": "A step ran longer than its limit.",
    "lost": "A step's instance vanished while it ran.",
    "cancelled": "It was stopped.",
}


def pipeline_run_words(run: RunModel, states: Sequence[str]) -> str:
    """How a pipeline's run goes, in a sentence or two; ``states`` are those of its steps."""
    if run.held:
        return "It waits for an earlier run of this pipeline to end, and begins by itself."
    if run.state == "queued" and run.workspace.state in _WAITING:
        return _WAITING[run.workspace.state]
    if run.is_final and run.state != "succeeded":
        skipped = states.count("skipped")
        left = f" {skipped} step{'' if skipped == 1 else 's'} did not run because of it." if skipped else ""
        return f"{_RUN_STATES[run.state]}{left}"
    if run.is_final:
        return _RUN_STATES["succeeded"]
    over = len(states) - sum(states.count(state) for state in ("waiting", "queued", "running"))
    return f"{over} of {len(states)} step{'' if len(states) == 1 else 's'} done, {states.count('running')} running."


def run_advice(state: str, reason: str) -> str:
    """What helps against how a step ended, if anything is known to."""
    return _ADVICE.get(reason, "") if state in ("failed", "lost", "timed_out") else ""
