"""Sets Terraform up on this machine: ``python -m portal.gateways.terraform_mirror --out DIR``.

Finds the program and its AWS provider and writes ``DIR/terraform.rc``, the CLI configuration that every run of Orca's
uses. The provider is 700 MB, so it lies unpacked on the disk once, and ``terraform init`` only links to it.

It is looked for in ``ORCA_TF_MIRROR``, in Terraform's own folders, in ``DIR/providers`` from an earlier time, then
under the usual prefixes. Where there is none it is fetched from the registry into ``DIR/providers``. Whatever the
reader's ``TF_CLI_CONFIG_FILE`` says is heeded for fetching only, and ignored if that file is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from portal.gateways.terraform_errors import TerraformError
from portal.gateways.terraform_mirror_search import (
    CONSTRAINT,
    HOST,
    PREFIXES,
    PROVIDER,
    Package,
    mirrors_implied,
    mirrors_search,
    packages_in,
)

LEAST = (1, 10)
_FETCH_SECONDS = 1800
_CHECK_SECONDS = 120


@dataclass(frozen=True)
class Program:
    """Terraform itself: where it is, its version and its platform (``linux_amd64``)."""

    path: str
    version: str
    platform: str


@dataclass(frozen=True)
class Chosen:
    """What was set up. ``mirror`` is the folder that ``terraform.rc`` names, ``source`` tells how it was found."""

    program: Program
    version: str
    mirror: Path
    source: str

    def __str__(self) -> str:
        return (
            f"Terraform {self.program.version} at {self.program.path}, "
            f"provider {PROVIDER} {self.version} in {self.mirror} ({self.source})"
        )


def program_find(name: str, environment: Mapping[str, str]) -> Program:
    """The program ``name``, if it is there and new enough."""
    hint = "Install Terraform 1.10 or newer and put it on PATH, or name the program in ORCA_TERRAFORM."
    path = shutil.which(name, path=environment.get("PATH"))
    if path is None:
        raise TerraformError(f"There is no program {name!r}.", code="terraform_no_program", hint=hint, fault="operator")
    done = _run([path, "version", "-json"], environment, seconds=_CHECK_SECONDS)
    try:
        said = json.loads(done.stdout)
        version, platform = str(said["terraform_version"]), str(said["platform"])
        numbers = tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".")[:2])
    except (ValueError, KeyError, TypeError):
        message = f"{path} does not answer as Terraform does."
        raise TerraformError(
            message, code="terraform_no_program", hint=hint, detail=done.stdout + done.stderr, fault="operator"
        ) from None
    if numbers < LEAST:
        message = f"{path} is Terraform {version}; Orca needs {LEAST[0]}.{LEAST[1]} or newer."
        raise TerraformError(message, code="terraform_too_old", hint=hint, fault="operator")
    return Program(path, version, platform)


def provider_mirror_find(
    out: Path, platform: str, environment: Mapping[str, str], prefixes: tuple[str, ...] = PREFIXES
) -> Iterator[tuple[Package, str]]:
    """Every usable provider on this machine, the most likely first, each with how it was found."""
    if named := environment.get("ORCA_TF_MIRROR"):
        found = packages_in(Path(named).expanduser(), platform)
        if not found:
            raise TerraformError(
                f"ORCA_TF_MIRROR names {named}, which holds no {PROVIDER} {CONSTRAINT} for {platform}.",
                code="terraform_no_provider",
                hint=f"It has to hold {HOST}/{PROVIDER}/..., packed or unpacked. Unset it to look elsewhere.",
                fault="operator",
            )
        yield found[0], "named by ORCA_TF_MIRROR"
    for mirror in mirrors_implied(environment):
        for package in packages_in(mirror, platform)[:1]:
            yield package, "one of Terraform's own folders"
    for package in packages_in(out / "providers", platform)[:1]:
        yield package, "set up before"
    for mirror in mirrors_search(prefixes):
        for package in packages_in(mirror, platform)[:1]:
            yield package, "found on this machine"


def mirror_set_up(
    out: Path, *, program: str, environment: Mapping[str, str], prefixes: tuple[str, ...] = PREFIXES
) -> Chosen:
    """Write ``out/terraform.rc``; what it uses. Raises ``TerraformError`` when no provider can be had."""
    found = program_find(program, environment)
    out.mkdir(parents=True, exist_ok=True)
    tried = []
    for package, source in provider_mirror_find(out, found.platform, environment, prefixes):
        mirror = _unpack(package, out / "providers", found.platform) if package.packed else package.mirror
        said = _config_try(out, mirror, found, environment)
        if said is None:
            return Chosen(found, package.version, mirror, source + (", unpacked" if package.packed else ""))
        tried.append(f"{package.path}: {said}")
    tried.append(f"registry: {_fetch(out / 'providers', found, environment) or 'fetched'}")
    for package in packages_in(out / "providers", found.platform)[:1]:
        said = _config_try(out, package.mirror, found, environment)
        if said is None:
            return Chosen(found, package.version, package.mirror, "fetched from the registry")
        tried.append(f"{package.path}: {said}")
    raise TerraformError(
        f"Terraform's provider {PROVIDER} is neither on this machine nor to be had from the registry.",
        code="terraform_no_provider",
        hint=f"Let this machine reach {HOST}, or put a mirror on it (a folder that holds {HOST}/{PROVIDER}/..., as "
        "`terraform providers mirror` makes it) and name it in ORCA_TF_MIRROR.",
        detail="\n".join(tried),
        fault="operator",
    )


def config_text(mirror: Path) -> str:
    """The CLI configuration that takes Orca's provider from ``mirror`` and all others from their registries."""
    name = json.dumps(f"{HOST}/{PROVIDER}")
    return (
        "# Written by portal.gateways.terraform_mirror.\n"
        "disable_checkpoint = true\n\n"
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path    = {json.dumps(str(mirror))}\n    include = [{name}]\n  }}\n"
        f"  direct {{\n    exclude = [{name}]\n  }}\n"
        "}\n"
    )


def _config_try(out: Path, mirror: Path, program: Program, environment: Mapping[str, str]) -> str | None:
    """Write the configuration, and see Terraform take the provider from it; why it did not."""
    draft = out / f"terraform.rc.{os.getpid()}"
    draft.write_text(config_text(mirror))
    try:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            said = _init(Path(folder), program, {**environment, "TF_CLI_CONFIG_FILE": str(draft)}, _CHECK_SECONDS)
        if said is None:
            draft.replace(out / "terraform.rc")
        return said
    finally:
        draft.unlink(missing_ok=True)


def _fetch(providers: Path, program: Program, environment: Mapping[str, str]) -> str | None:
    """Have ``terraform init`` fetch the provider, check its signature and unpack it; why it could not."""
    given = dict(environment)
    if not Path(given.get("TF_CLI_CONFIG_FILE", "")).is_file():
        given["TF_CLI_CONFIG_FILE"] = os.devnull
    given.pop("TF_PLUGIN_CACHE_DIR", None)
    providers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=providers) as folder:
        said = _init(Path(folder), program, given, _FETCH_SECONDS)
        if said is None:
            fetched = Path(folder) / "data" / "providers"
            for package in packages_in(fetched, program.platform)[:1]:
                _move_in(package.path, providers, package.version, program.platform)
        return said


def _init(folder: Path, program: Program, environment: Mapping[str, str], seconds: float) -> str | None:
    """``terraform init`` of nothing but the provider; what went wrong, if anything did."""
    source = json.dumps({"aws": {"source": f"{HOST}/{PROVIDER}", "version": CONSTRAINT}})
    (folder / "main.tf.json").write_text(f'{{"terraform": {{"required_providers": {source}}}}}')
    given = {key: value for key, value in environment.items() if key == "TF_CLI_CONFIG_FILE" or key[:3] != "TF_"}
    given |= {"TF_DATA_DIR": str(folder / "data"), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    done = _run([program.path, "init", "-input=false", "-no-color"], given, seconds=seconds, folder=folder)
    if done.returncode == 0:
        return None
    return " ".join((done.stderr or done.stdout).split())[:600] or f"ended with code {done.returncode}"


def _unpack(package: Package, providers: Path, platform: str) -> Path:
    """Unpack a zip file into ``providers``, all of it or nothing; that folder."""
    if _place(providers, package.version, platform).exists():
        return providers
    providers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=providers) as folder:
        unpacked = Path(folder) / platform
        with zipfile.ZipFile(package.path) as archive:
            archive.extractall(unpacked)
        for file in unpacked.glob("terraform-provider-*"):
            file.chmod(0o755)
        _move_in(unpacked, providers, package.version, platform)
    return providers


def _move_in(folder: Path, providers: Path, version: str, platform: str) -> None:
    place = _place(providers, version, platform)
    place.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        # Into a mirror of the operator's, which is not ours to move.
        place.symlink_to(folder.resolve())
        return
    try:
        folder.rename(place)
    except OSError:
        # Another set-up was faster.
        if not place.exists():
            raise


def _place(providers: Path, version: str, platform: str) -> Path:
    return providers / HOST / PROVIDER / version / platform


def _run(
    command: list[str], environment: Mapping[str, str], *, seconds: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    given = dict(environment)
    if folder is None:
        given["TF_CLI_CONFIG_FILE"] = os.devnull
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {seconds:.0f} seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description="Set Terraform and its AWS provider up on this machine.")
    parser.add_argument("--out", type=Path, required=True, help="folder for terraform.rc and, if needed, the provider")
    parser.add_argument("--terraform", default=os.environ.get("ORCA_TERRAFORM", "terraform"), help="the program")
    given = parser.parse_args()
    try:
        chosen = mirror_set_up(given.out.resolve(), program=given.terraform, environment=os.environ)
    except TerraformError as error:
        sys.stderr.write("\n".join(filter(None, (error.message, error.hint, error.detail))) + "\n")
        return 1
    sys.stdout.write(f"{chosen}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
