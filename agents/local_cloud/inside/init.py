"""Process 1 of an instance: runs the user data and keeps it running, as systemd's ``Restart=always`` would.

Runs inside of the sandbox with the system's Python, so it imports the standard library only and stays compatible with
Python 3.9. User data that ends with 0 has done its work; one that fails or is killed is started again, after 1, 2, 4
... 30 seconds. SIGTERM: the user data's process alone is asked to end first (an agent drains), then all the rest.
Exit code 100 asks the cloud to stop the instance (``shutdown``), 101 to reboot it.
"""

import os
import signal
import sys
import time

POWER_OFF = signal.SIGRTMIN + 4
REBOOT = signal.SIGRTMIN + 5
ENDINGS = {signal.SIGTERM: 0, signal.SIGINT: 0, POWER_OFF: 100, REBOOT: 101}

LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0


class Init:
    """The one loop: everything it reacts to is a signal that it keeps blocked and waits for."""

    def __init__(self, script, grace):
        self.script = script
        self.grace = grace
        self.child = None
        self.status = None
        self.ending = None
        self.waited = {signal.SIGCHLD, *ENDINGS}
        signal.pthread_sigmask(signal.SIG_BLOCK, self.waited)

    def say(self, text):
        """One line on the console."""
        print("[init] " + text, flush=True)

    def run(self):
        """Run until asked to end; the exit code."""
        pause = 1.0
        while self.ending is None:
            began = time.monotonic()
            self.start()
            self.wait(None, lambda: self.child is None)
            if self.ending is not None:
                break
            if self.status == 0:
                self.say("the user data has ended; the instance keeps running")
                self.wait(None, lambda: False)
                break
            if time.monotonic() - began > STEADY_SECONDS:
                pause = 1.0
            self.say("the user data %s; starting it again in %.0f s" % (describe(self.status), pause))
            self.wait(pause, lambda: False)
            pause = min(LONGEST_PAUSE, pause * 2)
        return self.finish()

    def start(self):
        """Start the user data in a session of its own."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self.waited)
                os.chdir("/")
                os.execv(self.script, [self.script])
            except OSError as error:
                print("[init] cannot run the user data: %s" % error, flush=True)
            os._exit(127)
        self.child = pid

    def wait(self, seconds, done):
        """Handle signals until ``done()``, an ending is asked for, or ``seconds`` have passed."""
        until = None if seconds is None else time.monotonic() + seconds
        while self.ending is None and not done():
            left = 3600.0 if until is None else until - time.monotonic()
            if left <= 0:
                return
            self.handle(signal.sigtimedwait(self.waited, left))

    def handle(self, received):
        """One signal, or None when there was none in time."""
        if received is None:
            return
        if received.si_signo in ENDINGS:
            self.ending = ENDINGS[received.si_signo]
        self.reap()

    def reap(self):
        """Collect every process that has ended, orphans too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.child = None
                self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def finish(self):
        """Let the user data's process end in its time, then ask everybody, then leave (which kills the rest)."""
        self.say("going down")
        until = time.monotonic() + self.grace
        if self.child is not None:
            os.kill(self.child, signal.SIGTERM)
        while self.child is not None and time.monotonic() < until:
            if signal.sigtimedwait(self.waited, max(0.01, until - time.monotonic())):
                self.reap()
        try:
            os.kill(-1, signal.SIGTERM)
        except ProcessLookupError:
            return self.ending
        until = time.monotonic() + 0.5
        while alone() is False and time.monotonic() < until:
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self.reap()
        return self.ending


def alone():
    """Whether no other process is left in this PID namespace."""
    return sum(name.isdigit() for name in os.listdir("/proc")) <= 1


def describe(status):
    """What a wait status says, in words."""
    return "ended with %d" % status if status >= 0 else "was killed by signal %d" % -status


def main(script, grace):
    """Tell the cloud that the sandbox stands, then run."""
    if "ORCA_READY_FD" in os.environ:
        ready = int(os.environ.pop("ORCA_READY_FD"))
        os.write(ready, b"1")
        os.close(ready)
    os.umask(0o022)
    return Init(script, grace).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
