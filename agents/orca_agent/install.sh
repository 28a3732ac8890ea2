#!/bin/sh
# Puts the agent of this archive to work: as a systemd unit where systemd runs, else in the foreground.
#   --check    only see whether the agent starts on this instance
#   --replace  the agent that runs asks to be replaced by this one, keeping its process id
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
export PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE= PYTHONUNBUFFERED=1 LANG=C.UTF-8

python=
for candidate in python3.13 python3.12 python3.11 python3.10 python3.9 python3; do
    if command -v "$candidate" >/dev/null 2>&1; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || { echo "orca: there is no python3" >&2; exit 1; }
