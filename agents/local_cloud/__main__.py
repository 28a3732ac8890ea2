"""``python -m agents.local_cloud --port 5566 --data DIR [--ssh-port N]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from agents.local_cloud.accounts import DEFAULT_REGION
from agents.local_cloud.data_folder import DataFolder, FolderInUse


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; prints ``ready http://127.0.0.1:PORT`` when it answers."""
    parser = argparse.ArgumentParser(prog="python -m agents.local_cloud", description=__doc__)
    parser.add_argument("--port", type=int, default=5566, help="port on 127.0.0.1 (0: a free one)")
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--ssh-port", type=int, default=None, help="port of SSH (default: 22, else 2222)")
    parser.add_argument(
        "--grace", type=float, default=9.0, help="seconds that an instance has to end its work (default: %(default)s)"
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    parser.add_argument("--region", default=region, help="default region (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    # boto3 inside moto must neither read the caller's profile nor reach for real endpoints.
    for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
        if name not in ("AWS_CA_BUNDLE",):
            del os.environ[name]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "unused"
    os.environ.update(AWS_DEFAULT_REGION=chosen.region, AWS_EC2_METADATA_DISABLED="true")

    from agents.local_cloud import start_up

    start_up.hurry()
    from agents.local_cloud.server import LocalCloud, Options

    options = Options(
        data=chosen.data.resolve(),
        port=chosen.port,
        ssh_port=chosen.ssh_port,
        region=chosen.region,
        grace=chosen.grace,
    )
    try:
        with DataFolder(options.data):
            return LocalCloud(options).run()
    except FolderInUse as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
