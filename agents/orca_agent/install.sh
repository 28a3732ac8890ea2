#!/bin/sh
# Puts the agent of this archive to work: as a systemd unit where systemd runs, else here in the foreground.
#   --check    only see whether the agent starts on this instance
#   --run      run it once, in place of this process (what the unit does)
#   --replace  the agent that runs gives its place, and its process id, to this one
# ORCA_ROOT and ORCA_USER stand for / and analyst where it is only tried.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
releases=$(dirname -- "$here")
user=${ORCA_USER:-analyst}
mode=${1:-}
export PYTHONPATH="$here" PYTHONUNBUFFERED=1 LANG=C.UTF-8
unset PYTHONHOME || true

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python3.9; do
        found=$(command -v "$candidate" 2>/dev/null) || continue
        if "$found" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            echo "$found"
            return
        fi
    done
    echo "orca: this instance has no Python 3.9 or newer" >&2
    exit 1
}

ensure_user() {
    [ "$(id -u)" = 0 ] || return 0
    if ! id "$user" >/dev/null 2>&1; then
        useradd --create-home --home-dir "/home/$user" --shell /bin/bash "$user" 2>/dev/null ||
            echo "orca: the user $user cannot be made; steps will run as root" >&2
    fi
}

write_unit() {
    # Where the cloud is not AWS itself, user data was told by its environment.
    env | grep -E '^(AWS_(ENDPOINT_URL[A-Z0-9_]*|EC2_METADATA_SERVICE_ENDPOINT|REGION|DEFAULT_REGION|CA_BUNDLE)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|PIP_[A-Z_]+|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY)=' \
        >/etc/orca/environment || true
    cat >/etc/systemd/system/orca-agent.service <<UNIT
[Unit]
Description=Orca agent: runs the steps of this workspace
After=network-online.target docker.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=$releases/current/install --run
EnvironmentFile=-/etc/orca/environment
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=60
OOMScoreAdjust=-900
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT
}

# An agent that is killed is started again; one that was told to stop is not.
stay_in_foreground() {
    stopping=
    child=
    trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT
    while [ -z "$stopping" ]; do
        "$releases/current/install" --run &
        child=$!
        status=0
        wait "$child" || status=$?
        while kill -0 "$child" 2>/dev/null; do
            status=0
            wait "$child" || status=$?
        done
        [ "$status" != 0 ] || exit 0
        [ -n "$stopping" ] || sleep 1
    done
}

ORCA_PYTHON=${ORCA_PYTHON:-$(find_python)}
export ORCA_PYTHON
run() {
    exec "$ORCA_PYTHON" -m agents.orca_agent --root "${ORCA_ROOT:-/}" --user "$user" "$@"
}
case $mode in
    --check) run --check ;;
    --run) run ;;
esac

ensure_user
ln -sfn "$here" "$releases/.current.$$" && mv -fT "$releases/.current.$$" "$releases/current"
("$ORCA_PYTHON" -m compileall -q "$here/agents" >/dev/null 2>&1 &) # wardens start faster so

if [ "$mode" = --replace ]; then
    run
elif [ -d /run/systemd/system ]; then
    write_unit
    systemctl daemon-reload
    systemctl enable orca-agent.service
    exec systemctl restart --no-block orca-agent.service
else
    stay_in_foreground
fi
