"""Who asks an instance's engine for what it may not have is told so, whenever the rest of the question comes."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from agents.local_cloud.instances.engine import EngineDoor
from agents.local_cloud.instances.engine_rules import Folders


def test_a_refusal_is_heard_by_who_is_still_sending(tmp_path: Path) -> None:
    door = EngineDoor("i-0", str(tmp_path / "no-engine.sock"), tmp_path / "door", Folders({}))
    body = b"x" * 100_000
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(tmp_path / "door" / "docker.sock"))
            asking.sendall(f"POST /volumes/create HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            time.sleep(0.2)  # by now the answer is there, and before it was heard out the connection gone
            asking.sendall(body)
            answer = b""
            while block := asking.recv(65_536):
                answer += block
    finally:
        door.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
