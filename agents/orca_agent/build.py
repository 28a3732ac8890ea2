"""Builds the archive that instances fetch: ``python -m agents.orca_agent.build --out FILE`` prints its sha256.

The same sources give the same bytes, so that the sha256 is the agent's version.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path
from typing import Dict, Final, Optional, Sequence

PACKAGE: Final = Path(__file__).resolve().parent
NOT_SHIPPED: Final = frozenset({"build.py"})


def contents() -> Dict[str, bytes]:
    """The archive's files by their names in it."""
    files = {"agents/__init__.py": b"", "install": (PACKAGE / "install.sh").read_bytes()}
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE)
        if str(inside) not in NOT_SHIPPED:
            files[f"agents/orca_agent/{inside}"] = path.read_bytes()
    return files


def archive() -> bytes:
    """The archive: a tar.gz whose members have neither times nor owners."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=9) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content in sorted(contents().items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name == "install" else 0o644
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    content = archive()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(content)
    sys.stdout.write(hashlib.sha256(content).hexdigest() + "\n")


if __name__ == "__main__":
    main()
