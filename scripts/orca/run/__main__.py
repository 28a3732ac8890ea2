"""``python -m scripts.orca.run``: starts everything, says where it is, and stays until it is told to stop."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from scripts.orca.console import ScriptError, complain, say
from scripts.orca.paths import HOME, LOGS, RUN, private_folder
from scripts.orca.run.configuration import Configuration, configuration_read
from scripts.orca.run.lock import lock_take
from scripts.orca.run.mail import mails_in
from scripts.orca.run.options import Options, parse
from scripts.orca.run.ports import port_require
from scripts.orca.run.services import services
from scripts.orca.run.start import Started, start
from scripts.orca.run.supervision import Supervision


class Stop(BaseException):
    """Somebody wants it to end: Ctrl-C, SIGTERM or a closed terminal."""


def main(arguments: list[str]) -> int:
    began = time.monotonic()
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        configuration = configuration_read(options)
        lock = lock_take(private_folder(RUN) / "lock", configuration.url)
        _ports_require(configuration)
        return _run(Supervision(configuration, services(configuration), lock), options, began)
    except ScriptError as error:
        complain(error)
        return 1
    except Stop:
        return 0


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise Stop


def _ports_require(configuration: Configuration) -> None:
    options = configuration.options
    port_require(options.host, options.port, "--port")
    if configuration.embedded_cloud:
        port_require("127.0.0.1", options.cloud_port, "--cloud-port")


def _run(supervision: Supervision, options: Options, began: float) -> int:
    result = None
    try:
        started = start(supervision)
        _welcome(started, supervision.configuration, time.monotonic() - began)
        if options.demo:
            from scripts.orca.demo import demo  # its libraries take time to load

            result = demo(options.demo, supervision.configuration)
        if not options.exit:
            _stay(supervision)
    finally:
        _stop(supervision)
        if result and options.exit:
            say(result.line())
    return 0


def _welcome(started: Started, configuration: Configuration, seconds: float) -> None:
    say(f"\nOrca is up after {seconds:.1f} s:  {configuration.url}\n")
    if started.administrator:
        say(f"  Administrator  {started.administrator}, password {started.password}  (shown this once)")
    say("  New here?      Open the address and sign up; the mail that asks you to confirm is shown below.")
    say(f"  Programs       {configuration.url}/api/docs/")
    say(f"  Logs           {LOGS}")
    say("  Stop           Ctrl-C\n")


def _stay(supervision: Supervision) -> NoReturn:
    mails = HOME / "mail"
    seen = set(mails.glob("*.log"))
    while True:
        for path in sorted(set(mails.glob("*.log")) - seen):
            seen.add(path)
            for mail in mails_in(path):
                say(f"Mail to {mail.to}: {mail.subject}  {' '.join(mail.links)}")
        if not supervision.is_alive():
            say("Supervisor has ended; starting everything again.")
            supervision.stop()
            start(supervision)
        time.sleep(0.5)


def _stop(supervision: Supervision) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    began = time.monotonic()
    say("\nStopping ...")
    killed = supervision.stop()
    rest = f"; had to kill {', '.join(killed)}" if killed else ""
    say(f"Stopped in {time.monotonic() - began:.1f} s{rest}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
