"""An SFTP server on standard input and output, for machines that have no OpenSSH ``sftp-server``.

Runs inside of the sandbox as ``analyst`` with the system's Python: standard library only, Python 3.9. Speaks version 3
of draft-ietf-secsh-filexfer-02, and of OpenSSH's extensions ``posix-rename`` and ``fsync``.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

VERSION, STATUS, HANDLE, DATA, NAME, ATTRS = 2, 101, 102, 103, 104, 105
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES = 1, 2, 4, 8
READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 16, 32
LARGEST_READ = 256 * 1024
LARGEST_PACKET = 512 * 1024
EXTENSIONS = ("posix-rename@openssh.com", "fsync@openssh.com")


class Fields:
    """Reads the fields of one packet from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def number(self, size: int = 4) -> int:
        """An unsigned integer of ``size`` bytes."""
        self.position += size
        return int.from_bytes(self.data[self.position - size : self.position], "big")

    def text(self) -> bytes:
        """A string with its length in front."""
        length = self.number()
        self.position += length
        return self.data[self.position - length : self.position]

    def attributes(self) -> dict[str, tuple[int, ...]]:
        """Those attributes that are there: size, owner, mode, times."""
        flags = self.number()
        found: dict[str, tuple[int, ...]] = {}
        if flags & HAS_SIZE:
            found["size"] = (self.number(8),)
        if flags & HAS_OWNER:
            found["owner"] = (self.number(), self.number())
        if flags & HAS_MODE:
            found["mode"] = (self.number(),)
        if flags & HAS_TIMES:
            found["times"] = (self.number(), self.number())
        return found


def path(value: bytes) -> Path:
    """A path as it came over the wire."""
    return Path(os.fsdecode(value))


def text(value: bytes) -> bytes:
    """A string as it goes over the wire."""
    return struct.pack(">I", len(value)) + value


def attributes(found: os.stat_result) -> bytes:
    """A file's attributes as they go over the wire."""
    head = struct.pack(">IQII", HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES, found.st_size, found.st_uid, found.st_gid)
    return head + struct.pack(">III", found.st_mode, int(found.st_atime), int(found.st_mtime))


def listing(name: bytes, found: os.stat_result) -> bytes:
    """A line as ``ls -l`` would show it."""
    when = time.strftime("%b %d %H:%M", time.localtime(found.st_mtime))
    owner = f"{found.st_nlink:4} {found.st_uid:8} {found.st_gid:8}"
    return f"{stat.filemode(found.st_mode)} {owner} {found.st_size:10} {when} ".encode() + name


def change(target: int | bytes, wanted: dict[str, tuple[int, ...]]) -> None:
    """Set the attributes of an open file or of a path."""
    if "size" in wanted:
        os.truncate(target, wanted["size"][0])
    if "mode" in wanted:
        mode = stat.S_IMODE(wanted["mode"][0])
        os.fchmod(target, mode) if isinstance(target, int) else path(target).chmod(mode)
    if "times" in wanted:
        os.utime(target, (wanted["times"][0], wanted["times"][1]))
    if "owner" in wanted:
        os.chown(target, *wanted["owner"])


class Server:
    """Answers one packet after the other."""

    def __init__(self) -> None:
        self.files: dict[bytes, int] = {}
        self.folders: dict[bytes, list[os.DirEntry[bytes]]] = {}
        self.count = 0
        self.handlers: dict[int, Callable[[Fields], tuple[int, bytes]]] = {
            3: self.open,
            4: self.close,
            5: self.read,
            6: self.write,
            7: lambda fields: (ATTRS, attributes(os.lstat(fields.text()))),
            8: lambda fields: (ATTRS, attributes(os.fstat(self.files[fields.text()]))),
            9: lambda fields: self.done(change, fields.text(), fields.attributes()),
            10: lambda fields: self.done(change, self.files[fields.text()], fields.attributes()),
            11: self.open_folder,
            12: self.read_folder,
            13: lambda fields: self.done(os.unlink, fields.text()),
            14: self.make_folder,
            15: lambda fields: self.done(os.rmdir, fields.text()),
            16: self.real_path,
            17: lambda fields: (ATTRS, attributes(path(fields.text()).stat())),
            18: self.rename,
            19: self.read_link,
            # OpenSSH sends target and link in this order, against the draft, and every client follows it.
            20: lambda fields: self.done(os.symlink, fields.text(), fields.text()),
            200: self.extended,
        }

    def answer(self, kind: int, request: bytes, fields: Fields) -> bytes:
        """The answer to one packet, without its length."""
        handler = self.handlers.get(kind)
        if handler is None:
            return self.status(request, UNSUPPORTED, "not supported")
        try:
            found, body = handler(fields)
        except KeyError:
            return self.status(request, BAD_MESSAGE, "no such handle")
        except EOFError:
            return self.status(request, EOF, "end of file")
        except OSError as error:
            codes = {errno.ENOENT: NO_SUCH_FILE, errno.EACCES: PERMISSION_DENIED, errno.EPERM: PERMISSION_DENIED}
            return self.status(request, codes.get(error.errno or 0, FAILURE), error.strerror or "failure")
        return bytes([found]) + request + body

    def status(self, request: bytes, code: int, words: str) -> bytes:
        """A packet that says how it went."""
        return bytes([STATUS]) + request + struct.pack(">I", code) + text(words.encode()) + text(b"en")

    def done(self, act: Callable[..., object], *arguments: object) -> tuple[int, bytes]:
        """Do it and say that it went well."""
        act(*arguments)
        return STATUS, struct.pack(">I", OK) + text(b"") + text(b"en")

    def handle(self) -> bytes:
        """A new handle."""
        self.count += 1
        return b"%d" % self.count

    def open(self, fields: Fields) -> tuple[int, bytes]:
        """OPEN."""
        name, flags, wanted = fields.text(), fields.number(), fields.attributes()
        mode = {READ: os.O_RDONLY, WRITE: os.O_WRONLY}.get(flags & (READ | WRITE), os.O_RDWR)
        for ours, theirs in (
            (APPEND, os.O_APPEND),
            (CREATE, os.O_CREAT),
            (TRUNCATE, os.O_TRUNC),
            (EXCLUSIVE, os.O_EXCL),
        ):
            mode |= theirs if flags & ours else 0
        handle = self.handle()
        self.files[handle] = os.open(name, mode, wanted.get("mode", (0o666,))[0])
        return HANDLE, text(handle)

    def close(self, fields: Fields) -> tuple[int, bytes]:
        """CLOSE, of a file or a folder."""
        handle = fields.text()
        if self.folders.pop(handle, None) is None:
            os.close(self.files.pop(handle))
        return self.done(lambda: None)

    def read(self, fields: Fields) -> tuple[int, bytes]:
        """READ."""
        handle, offset, length = fields.text(), fields.number(8), fields.number()
        data = os.pread(self.files[handle], min(length, LARGEST_READ), offset)
        if not data:
            raise EOFError
        return DATA, text(data)

    def write(self, fields: Fields) -> tuple[int, bytes]:
        """WRITE."""
        handle, offset, data = fields.text(), fields.number(8), fields.text()
        written = 0
        while written < len(data):
            written += os.pwrite(self.files[handle], data[written:], offset + written)
        return self.done(lambda: None)

    def open_folder(self, fields: Fields) -> tuple[int, bytes]:
        """OPENDIR."""
        handle = self.handle()
        with os.scandir(fields.text()) as found:
            self.folders[handle] = list(found)
        return HANDLE, text(handle)

    def read_folder(self, fields: Fields) -> tuple[int, bytes]:
        """READDIR: up to a hundred entries."""
        entries = self.folders[fields.text()]
        if not entries:
            raise EOFError
        batch, entries[:] = entries[:100], entries[100:]
        body = b""
        for entry in batch:
            found = entry.stat(follow_symlinks=False)
            body += text(entry.name) + text(listing(entry.name, found)) + attributes(found)
        return NAME, struct.pack(">I", len(batch)) + body

    def make_folder(self, fields: Fields) -> tuple[int, bytes]:
        """MKDIR."""
        return self.done(os.mkdir, fields.text(), fields.attributes().get("mode", (0o777,))[0])

    def real_path(self, fields: Fields) -> tuple[int, bytes]:
        """REALPATH."""
        return self.one_name(os.path.realpath(fields.text() or b"."))

    def read_link(self, fields: Fields) -> tuple[int, bytes]:
        """READLINK."""
        return self.one_name(os.fsencode(path(fields.text()).readlink()))

    def one_name(self, name: bytes) -> tuple[int, bytes]:
        """An answer with one name and no attributes."""
        return NAME, struct.pack(">I", 1) + text(name) + text(name) + struct.pack(">I", 0)

    def rename(self, fields: Fields) -> tuple[int, bytes]:
        """RENAME, which must not replace anything."""
        source, target = fields.text(), fields.text()
        if os.path.lexists(target):
            raise OSError(errno.EEXIST, "the target exists")
        return self.done(os.rename, source, target)

    def extended(self, fields: Fields) -> tuple[int, bytes]:
        """The two extensions."""
        name = fields.text().decode()
        if name == EXTENSIONS[0]:
            return self.done(os.replace, fields.text(), fields.text())
        if name == EXTENSIONS[1]:
            return self.done(os.fsync, self.files[fields.text()])
        return STATUS, struct.pack(">I", UNSUPPORTED) + text(b"not supported") + text(b"en")


def main() -> int:
    """Serve until the client closes its end."""
    source, target, server = sys.stdin.buffer, sys.stdout.buffer, Server()
    while len(head := source.read(4)) == 4:
        length = int.from_bytes(head, "big")
        if not 1 <= length <= LARGEST_PACKET:
            return 1
        packet = source.read(length)
        if packet[0] == 1:
            body = bytes([VERSION]) + struct.pack(">I", 3)
            body += b"".join(text(name.encode()) + text(b"1") for name in EXTENSIONS)
        else:
            body = server.answer(packet[0], packet[1:5], Fields(packet[5:]))
        target.write(text(body))
        target.flush()
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    os.chdir(Path.home())
    sys.exit(main())
