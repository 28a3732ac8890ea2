"""The private MariaDB lives as long as it is needed and is reached from nowhere else."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.orca.mariadb import mariadb

MySQLdb: Any = import_module("MySQLdb")  # has no types


def test_it_takes_its_own_password_only_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with mariadb() as address:
        found = urlsplit(address)
        assert found.hostname == "127.0.0.1"
        place = {"host": "127.0.0.1", "port": found.port, "user": found.username}
        connection = MySQLdb.connect(**place, password=found.password, database=found.path.strip("/"))
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE test_orca")
        cursor.execute("SELECT @@bind_address, @@character_set_database")
        assert cursor.fetchone() == ("127.0.0.1", "utf8mb4")
        connection.close()
        with pytest.raises(MySQLdb.OperationalError):
            MySQLdb.connect(**place, password="wrong")
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", int(found.port or 0))) != 0
    assert list(tmp_path.iterdir()) == []
