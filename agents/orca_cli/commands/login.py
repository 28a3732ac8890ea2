"""``login``, ``logout``, ``whoami`` and ``profile``."""

from __future__ import annotations

import os
import socket
import sys
import time
import webbrowser
from typing import Annotated, Any

import typer

from .. import completion
from ..api import Api
from ..command import Session, command
from ..errors import CliError, Exit
from ..profiles import DEFAULT_PROFILE, Profile, address

_LONGEST_WAIT = 1_800.0
_STDIN = "-"


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    command(app, "login", rich_help_panel="You")(login)
    command(app, "logout", rich_help_panel="You")(logout)
    command(app, "whoami", rich_help_panel="You")(whoami)
    group = typer.Typer(no_args_is_help=True, help="Ways in: several Orcas, or several people, on one machine.")
    command(group, "ls")(profile_ls)
    command(group, "use")(profile_use)
    app.add_typer(group, name="profile", rich_help_panel="You")


def login(
    session: Session,
    url: Annotated[str, typer.Argument(help="Where Orca is. Without it: where you were last.")] = "",
    token: Annotated[str, typer.Option(help="A token from your account page; “-” reads it from standard input.")] = "",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Log in: in the browser, or with a token.

    The token is kept in a file that only you can read. “orca logout” takes it back.
    """
    name = session.profile_named or os.environ.get("ORCA_PROFILE", "") or session.file.used or DEFAULT_PROFILE
    known = session.file.get(name) or Profile(name)
    where = address(url or os.environ.get("ORCA_URL", "") or known.url)
    given = sys.stdin.readline().strip() if token == _STDIN else token
    if token and not given:
        raise CliError("There was no token on standard input.", exit_code=Exit.USAGE)
    text = given or _by_browser(session, Profile(name, where), browser=browser)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise CliError("This is no token.", hint="It is one word, such as orca_….", exit_code=Exit.USAGE)
    me = session.api_of(Profile(name, where, text)).get("me/")
    session.file.put(Profile(name, where, text, me["email"]))
    shown = {"profile": name, "url": where, "email": me["email"], "approved": me["approved"]}
    session.out.result(shown, f"Logged in to {where} as {me['email']}.")
    if not me["approved"]:
        session.out.warn("Your account waits for approval by an operator; you get an e-mail.")
    if os.environ.get("ORCA_TOKEN"):
        session.out.warn("ORCA_TOKEN is set, and wins over what you have just logged in with.")


def _by_browser(session: Session, profile: Profile, *, browser: bool) -> str:
    """A token that a logged-in person has allowed on a page (RFC 8628)."""
    api = session.api_of(profile)
    begun = api.post("device/", {"name": f"orca on {socket.gethostname()}"[:80]})
    opened = browser and _has_browser() and webbrowser.open(begun["verification_uri_complete"])
    out = session.out
    out.note("Allow it in the browser that opened:" if opened else "Open this page in a browser, and allow it there:")
    out.note(f"\n  {begun['verification_uri_complete']}\n", style="bold")
    out.note(f"It shows the code {begun['user_code']}.")
    deadline = time.monotonic() + min(begun["expires_in"], _LONGEST_WAIT)
    with out.busy("Waiting for you …"):
        while True:
            time.sleep(max(1, begun["interval"]))
            try:
                return str(api.post("device/token/", {"device_code": begun["device_code"]})["token"])
            except CliError as error:
                if error.code != "authorization_pending":
                    raise
            if time.monotonic() > deadline:
                raise CliError("Nobody allowed it in time.", hint="Run it again.", code="expired_token")


def _has_browser() -> bool:
    """Whether a window can open here; a browser in the terminal would be in the way."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def logout(session: Session) -> None:
    """Log out: the token stops working, and this machine forgets it."""
    profile = session.file.get(session.profile.name)
    if profile is None or not profile.token:
        raise CliError(f"The profile {session.profile.name} is not logged in.", code="not_logged_in")
    revoked = True
    try:
        Api(profile).delete("tokens/current/")
    except CliError as error:
        revoked = error.code == "not_authenticated"
        if not revoked:
            session.out.warn(f"{error.message} The token still works: revoke it on your account page.")
    session.file.remove(profile.name)
    session.out.result(
        {"profile": profile.name, "url": profile.url, "revoked": revoked}, f"Logged out of {profile.url}."
    )


def whoami(session: Session) -> None:
    """Who you are, and where."""
    me: dict[str, Any] = session.api.get("me/")
    profile = session.profile
    shown = {**me, "url": profile.url, "profile": profile.name}
    session.out.result(shown, f"{me['email']} at {profile.url} (profile {profile.name})")


def profile_ls(session: Session) -> None:
    """Your profiles."""
    file = session.file
    found = [file.get(name) or Profile(name) for name in file.names]
    shown = [{"name": p.name, "url": p.url, "email": p.email, "used": p.name == file.used} for p in found]
    rows = [("*" if p.name == file.used else "", p.name, p.url, p.email) for p in found]
    session.out.table(shown, ["", "name", "address", "who"], rows, empty="No profile yet: orca login")


def profile_use(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name.", autocompletion=completion.profile_names)],
) -> None:
    """Use a profile from now on."""
    if session.file.get(name) is None:
        raise CliError(f"There is no profile called {name}.", hint="See: orca profile ls", exit_code=Exit.NOT_FOUND)
    session.file.use(name)
    session.out.result({"used": name}, f"Using {name}.")
