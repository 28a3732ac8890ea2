"""What an instance sees of this machine, read off its command line; and when no instance is to boot at all."""

from __future__ import annotations

from pathlib import Path

from agents.local_cloud.instances import sandbox, surroundings
from agents.local_cloud.instances.addresses import Place
from agents.local_cloud.instances.root_folder import RootFolder
from agents.local_cloud.instances.sandbox import REPOSITORY, Reports, Standing, Tools, boot_command, join_command

PLACE = Place(0, "127.20.0.1", 50000)


def tools(data: Path, *, bwrap: str | None = "/usr/bin/bwrap", as_root: bool = True) -> Tools:
    return Tools(bwrap, as_root, "/usr/bin/python3", data)


def shown(data: Path, environment: dict[str, str]) -> list[str]:
    """The paths of this machine that the instance sees, but for its own folders."""
    folder = RootFolder(data / "instances" / "i-1", PLACE, True)
    command = boot_command(tools(data), folder, environment, 9.0, Reports(3, 4))
    binds = [command[i + 1] for i, word in enumerate(command) if word.startswith(("--bind", "--ro-bind"))]
    return [path for path in binds if not path.startswith((str(data), str(sandbox.INSIDE), "/proc"))]


def test_only_system_folders_are_shown_whatever_the_environment_says(tmp_path: Path) -> None:
    environment = {"HOME": "/root", "PATH": "/root/bin:/usr/bin", "PWD": str(Path.home()), "NO_PROXY": "/root"}
    paths = shown(tmp_path, environment)
    assert "/usr" in paths
    assert all(path.startswith(("/usr", "/bin", "/sbin", "/lib", "/nix", "/etc/", "/opt/")) for path in paths)
    assert not any(path in ("/", "/etc", "/etc/ssl", "/root", "/home", "/var", str(REPOSITORY)) for path in paths)


def test_what_certificates_and_pip_need_is_shown_too() -> None:
    """/usr/share and /usr/lib stand for a folder of wheels and a certificate: they are there everywhere."""
    wheels, pem = Path("/usr/share"), Path("/usr/lib")
    named = surroundings.named_paths({"PIP_FIND_LINKS": str(wheels), "SSL_CERT_FILE": str(pem)}, "", [])
    assert named == [wheels, pem]
    settings = f"[global]\nextra-index-url = file://{wheels} https://host/simple\n"
    assert surroundings.named_paths({}, settings, []) == [wheels]
    assert surroundings.named_paths({"HOME": str(wheels), "PATH": str(pem), "LANG": "/usr/share"}, "", []) == []
    assert (
        surroundings.named_paths({"PIP_FIND_LINKS": "/usr/share /usr /proc/self /etc/hosts /missing/x"}, "", [wheels])
        == []
    )


def test_the_repository_and_the_data_are_covered_where_they_lie_in_a_system_folder(tmp_path: Path) -> None:
    hidden = [Path("/usr/local/src/orca"), tmp_path]
    assert surroundings.covered(hidden) == [Path("/usr/local/src/orca")]
    opt = [path for path in surroundings.read_only([Path("/opt/anything/orca")]) if path.parts[1] == "opt"]
    assert Path("/opt/anything") not in opt


def test_root_inside_of_an_instance_has_few_powers(tmp_path: Path) -> None:
    folder = RootFolder(tmp_path / "i-1", PLACE, True)
    command = boot_command(tools(tmp_path), folder, {}, 9.0, Reports(3, 4))
    bounding = next(word for word in command if word.startswith("--bounding-set="))
    assert bounding.startswith("--bounding-set=-all,")
    for power in ("sys_admin", "sys_ptrace", "net_admin", "mknod", "sys_module", "sys_chroot"):
        assert power not in bounding
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--clearenv"} <= set(command)
    assert command[command.index("--proc") + 2 :][:3] == ["--ro-bind", "/proc/sys", "/proc/sys"]


def test_whoever_joins_is_analyst_and_nobody_more(tmp_path: Path) -> None:
    folder = RootFolder(tmp_path / "i-1", PLACE, True)
    command = join_command(tools(tmp_path), folder, Standing(4711), ["id"])
    assert command[:3] == ["nsenter", "--target", "4711"]
    assert {"--mount", "--pid", "--reuid=50000", "--regid=50000", "--clear-groups", "--no-new-privs"} <= set(command)
    assert "--bounding-set=-all" in command
    assert command[-1] == "id"
    ordinary = join_command(tools(tmp_path, as_root=False), folder, Standing(4711, 9), ["id"])
    assert "--user=/proc/self/fd/9" in ordinary
    assert not any(word.startswith("--reuid") for word in ordinary)


def test_root_does_not_boot_anything_without_a_sandbox(tmp_path: Path) -> None:
    assert "bwrap" in tools(tmp_path, bwrap=None).why_not
    assert tools(tmp_path, bwrap=None, as_root=False).why_not == ""
    assert tools(tmp_path).why_not == ""
