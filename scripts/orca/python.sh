# Sourced by scripts/*: `orca <command> [argument ...]` runs `python -m scripts.orca <command>` with a Python that will do.
# shellcheck shell=bash

orca_root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)

# Prints the real interpreter behind $1 (a version manager's shim costs 70 ms each time) if it is 3.11 or newer.
orca_real_python() {
    local given
    given=$(command -v "$1" 2>/dev/null) || return 1
    "$given" -I -c 'import sys
if sys.version_info < (3, 11): raise SystemExit(1)
print(sys.executable)' 2>/dev/null
}

orca_find_python() {
    local candidate
    for candidate in ${ORCA_PYTHON:+"$ORCA_PYTHON"} "$orca_root/.venv/bin/python" /usr/bin/python3 \
        python3 python3.14 python3.13 python3.12 python3.11; do
        orca_real_python "$candidate" && return 0
    done
    return 1
}

orca() {
    local python sudo=()
    if ! python=$(orca_find_python); then
        if [ "$(id -u)" != 0 ]; then sudo=(sudo -n); fi
        if command -v apt-get >/dev/null && "${sudo[@]}" true 2>/dev/null; then
            echo "Installing Python ..." >&2
            "${sudo[@]}" apt-get update -qq >&2
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
                python3 python3-venv >&2
        fi
        if ! python=$(orca_find_python); then
            echo "Orca needs Python 3.11 or newer, and found none on this machine." >&2
            echo "  Install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv), or name one in ORCA_PYTHON." >&2
            exit 1
        fi
    fi
    cd "$orca_root"
    exec "$python" -m scripts.orca "$@"
}
