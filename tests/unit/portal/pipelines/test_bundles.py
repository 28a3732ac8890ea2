"""What people upload, good and hostile."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.core.errors import Invalid
from portal.pipelines import bundles
from portal.pipelines.bundles import Bundle, bundled, file_shown

LIMIT = 1_000_000


@dataclass(frozen=True)
class Sent:
    """An uploaded file with any name: Django's own keeps only the last part of it."""

    name: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        yield self.content


def uploaded(name: str, content: bytes = b"print(1)\n") -> Sent:
    return Sent(name, content)


def zipped(files: dict[str, bytes] | None = None, *, entries: Sequence[tuple[zipfile.ZipInfo, bytes]] = ()) -> Any:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files or {}).items():
            archive.writestr(name, content)
        for entry, content in entries:
            archive.writestr(entry, content)
    return uploaded("upload.zip", made.getvalue())


def made_of(*uploads: Any, entrypoint: str = "") -> Bundle:
    with bundled(uploads, entrypoint=entrypoint, most_bytes=LIMIT) as bundle:
        return bundle


def refused(*uploads: Any, entrypoint: str = "") -> Invalid:
    """What a person is told; every refusal names the input, and all but the plainest say what to do."""
    with pytest.raises(Invalid) as caught, bundled(uploads, entrypoint=entrypoint, most_bytes=LIMIT):
        pass
    error = caught.value
    assert error.status == 422
    assert error.fields.keys() <= {"files", "entrypoint"}
    assert all(error.fields.values())
    assert error.fields
    assert error.hint or error.code == "no_files"
    assert all(text.isprintable() for text in (error.message, error.hint, *error.fields.values()))
    return error


def paths_of(bundle: Bundle) -> list[str]:
    return [file["path"] for file in bundle.files]


def test_one_python_file_is_started() -> None:
    bundle = made_of(uploaded("analyse.py"))
    assert (bundle.entrypoint, bundle.runtime, bundle.requirements) == ("analyse.py", "python", "")


def test_equal_files_make_equal_bundles_in_any_order() -> None:
    first = made_of(uploaded("main.py"), uploaded("b.py", b"x = 1"))
    second = made_of(uploaded("b.py", b"x = 1"), uploaded("main.py"))
    other = made_of(uploaded("b.py", b"x = 2"), uploaded("main.py"))
    assert first.sha256 == second.sha256 != other.sha256


def test_a_zip_of_a_folder_loses_the_folder_and_the_rubbish() -> None:
    bundle = made_of(
        zipped(
            {
                "project/main.py": b"print(1)",
                "project/requirements.txt": b"pandas",
                "project/lib/a.py": b"",
                "__MACOSX/project/._main.py": b"x",
                "project/.DS_Store": b"x",
            }
        )
    )
    assert [file["path"] for file in bundle.files] == ["lib/a.py", "main.py", "requirements.txt"]
    assert bundle.requirements == "requirements.txt"


def test_the_file_to_start_can_be_named() -> None:
    assert made_of(uploaded("a.py"), uploaded("b.sh"), entrypoint="b.sh").runtime == "shell"


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/cron.d/x.py", "a/../../b.py", "C:\\x.py", "a\x00b.py", "..\\x.py"]
)
def test_names_that_point_elsewhere_are_refused(name: str) -> None:
    error = refused(zipped({name: b"x", "main.py": b""})) if "\x00" not in name else refused(uploaded(name))
    assert error.code == "bad_file_name"


def test_names_with_spaces_emoji_and_shell_characters_are_fine() -> None:
    names = ["main.py", "my data; rm -rf $HOME.py", "snow ☃ 🐳.py", "a'b\"c`d.py"]
    bundle = made_of(*(uploaded(name) for name in names))
    assert sorted(names) == [file["path"] for file in bundle.files]


def test_a_link_in_a_zip_is_refused() -> None:
    link = zipfile.ZipInfo("passwd.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refused(zipped({"main.py": b""}, entries=[(link, b"/etc/passwd")])).code == "not_a_file"


def test_a_zip_bomb_is_refused() -> None:
    assert refused(zipped({"main.py": b"\0" * (LIMIT * 50)})).code == "too_large"


def test_a_zip_that_lies_about_its_sizes_is_refused() -> None:
    made = bytearray(zipped({"main.py": b"\0" * (LIMIT * 3)}).content)
    size = (LIMIT * 3).to_bytes(4, "little")
    while (at := made.find(size)) >= 0:
        made[at : at + 4] = (10).to_bytes(4, "little")
    assert refused(uploaded("lie.zip", bytes(made))).code in {"too_large", "bad_zip"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"not a zip at all"])
def test_a_damaged_zip_is_refused(content: bytes) -> None:
    assert refused(uploaded("broken.zip", content)).code == "bad_zip"


def test_too_much_is_refused() -> None:
    assert refused(uploaded("main.py", b"x" * (LIMIT + 1))).code == "too_large"


def test_nothing_is_refused() -> None:
    assert refused().code == "no_files"


def test_nothing_to_start_is_refused_with_a_way_out() -> None:
    error = refused(uploaded("data.csv", b"1"))
    assert error.code == "no_entrypoint"
    assert "main.py" in error.hint or ".py" in error.hint


def test_several_to_start_are_asked_about() -> None:
    error = refused(uploaded("a.py"), uploaded("b.py"))
    assert "a.py, b.py" in error.fields["entrypoint"]


def test_the_same_name_twice_is_refused() -> None:
    assert refused(uploaded("a.py"), uploaded("a.py")).code == "duplicate_file"


def test_a_file_where_a_folder_is_is_refused() -> None:
    assert refused(zipped({"main.py": b"", "lib": b"x", "lib/a.py": b""})).code == "duplicate_file"


def test_a_text_file_can_be_read_again_and_a_binary_one_is_not_shown() -> None:
    with bundled([uploaded("main.py", "print('ä')".encode()), uploaded("x.bin", b"\0\1")], most_bytes=LIMIT) as bundle:
        assert file_shown(bundle.content, "main.py") == "print('ä')"
        bundle.content.seek(0)
        assert file_shown(bundle.content, "x.bin") is None


@pytest.mark.parametrize("name", ["a\nb.py", "a\u2028b.py", "txt\u202eyp.py", "a\x1b[2Jb.py", "a\x7fb.py"])
def test_names_with_what_cannot_be_seen_are_refused(name: str) -> None:
    for error in (refused(uploaded(name), uploaded("main.py")), refused(zipped({name: b"", "main.py": b""}))):
        assert error.code == "bad_file_name"
        assert "\ufffd" in error.message


def test_a_name_that_is_too_long_is_refused_and_quoted_in_short() -> None:
    error = refused(zipped({"d/" * 150 + "main.py": b"", "x.py": b""}))
    assert (error.code, len(error.fields["files"])) == ("bad_file_name", 78)


def test_deep_folders_are_kept() -> None:
    deep = "d/" * 90 + "data.csv"
    assert paths_of(made_of(zipped({"main.py": b"", deep: b"1"}))) == [deep, "main.py"]


def test_folders_in_folders_around_everything_are_left_out() -> None:
    bundle = made_of(zipped({"download/project-main/main.py": b"", "download/project-main/lib/a.py": b""}))
    assert paths_of(bundle) == ["lib/a.py", "main.py"]


@pytest.mark.parametrize("typed", ["lib/go.sh", "./lib/go.sh", " lib\\go.sh ", "project/lib/go.sh"])
def test_the_file_to_start_is_found_however_it_is_called(typed: str) -> None:
    files = {"project/main.py": b"", "project/lib/go.sh": b""}
    assert made_of(zipped(files), entrypoint=typed).entrypoint == "lib/go.sh"


def test_a_file_to_start_that_is_not_there_is_told_with_those_that_are() -> None:
    missing = refused(uploaded("a.py"), uploaded("b.sh"), uploaded("c.csv"), entrypoint="man.py")
    assert missing.hint == "These can be started: a.py, b.sh."
    assert refused(uploaded("a.py"), uploaded("c.csv"), entrypoint="c.csv").fields == {
        "entrypoint": "must end in .py or .sh"
    }


def test_names_from_windows_are_started_too() -> None:
    bundle = made_of(zipped({"Project\\ANALYSE.PY": b"", "Project\\data\\x.csv": b""}))
    assert (bundle.entrypoint, bundle.runtime, paths_of(bundle)) == (
        "ANALYSE.PY",
        "python",
        ["ANALYSE.PY", "data/x.csv"],
    )


def test_names_that_differ_by_case_are_two_files() -> None:
    assert paths_of(made_of(zipped({"main.py": b"1", "Main.py": b"2"}))) == ["Main.py", "main.py"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_in_a_zip_is_refused() -> None:
    twice = [(zipfile.ZipInfo("main.py"), b"1"), (zipfile.ZipInfo("main.py"), b"2")]
    assert refused(zipped(entries=twice)).code == "duplicate_file"
    decomposed = {"main.py": b"", "a\u0308.py": b"", "\u00e4.py": b""}
    assert refused(zipped(decomposed)).code == "duplicate_file"


def test_the_rubbish_of_a_chosen_folder_is_left_out() -> None:
    rubbish = [".git/config", "__pycache__/main.cpython-311.pyc", ".DS_Store", "._main.py", "data/Thumbs.db"]
    assert paths_of(made_of(uploaded("main.py"), *(uploaded(name) for name in rubbish))) == ["main.py"]
    assert refused(zipped(dict.fromkeys(rubbish, b""))).code == "no_files"


def test_an_empty_file_is_a_script_too() -> None:
    bundle = made_of(uploaded("main.py", b""))
    assert (bundle.size, bundle.entrypoint) == (0, "main.py")


@pytest.mark.parametrize("name", ["data.tar.gz", "notebook.ipynb", "README", "run.exe"])
def test_what_cannot_be_started_is_told(name: str) -> None:
    error = refused(uploaded(name))
    assert (error.code, error.fields) == ("no_entrypoint", {"entrypoint": "nothing to start"})
    assert ".zip" in error.hint


def test_a_zip_of_nothing_is_refused() -> None:
    assert refused(zipped({})).code == "no_files"
    assert refused(zipped({"folder/": b""})).code == "no_files"


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_in_a_zip_is_refused(kind: int) -> None:
    device = zipfile.ZipInfo("null")
    device.external_attr = (kind | 0o666) << 16
    assert refused(zipped({"main.py": b""}, entries=[(device, b"")])).code == "not_a_file"


def changed(content: bytes, offset_in_header: int, offset_in_directory: int, value: bytes) -> bytes:
    """A zip of one entry with bytes of its two headers changed."""
    made = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", offset_in_header), (b"PK\x01\x02", offset_in_directory)):
        at = made.index(signature) + offset
        made[at : at + len(value)] = value
    return bytes(made)


def test_an_encrypted_zip_is_told_as_such() -> None:
    locked = changed(zipped({"main.py": b"print(1)"}).content, 6, 8, struct.pack("<H", 1))
    assert refused(uploaded("locked.zip", locked)).code == "encrypted_zip"


@pytest.mark.parametrize("method", [1, 6, 9, 93, 95, 97])
def test_a_zip_packed_in_an_unusual_way_is_refused(method: int) -> None:
    packed = changed(zipped({"main.py": b"print(1)"}).content, 8, 10, struct.pack("<H", method))
    assert refused(uploaded("new.zip", packed)).code == "bad_zip"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_may_be_packed_in_any_way_that_python_knows(method: int) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("main.py", b"print(1)\n" * 100)
    bundle = made_of(uploaded("Any.ZIP", made.getvalue()))
    assert (paths_of(bundle), bundle.size) == (["main.py"], 900)


def test_a_large_zips_records_are_read() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, archive.open("main.py", "w", force_zip64=True) as entry:
        entry.write(b"print(1)")
    assert made_of(uploaded("zip64.zip", made.getvalue())).size == 8


def test_what_stands_before_and_behind_a_zip_does_no_harm() -> None:
    content = zipped({"main.py": b"print(1)"}).content
    assert made_of(uploaded("selfextracting.zip", b"#!/bin/sh\nexit\n" + content)).size == 8


def test_too_many_files_are_refused() -> None:
    many = {f"{number}.py": b"" for number in range(bundles.MOST_FILES + 1)}
    error = refused(zipped(many))
    assert (error.code, error.fields) == ("too_many_files", {"files": "at most 2,000"})
    assert refused(*(uploaded(name) for name in many)).code == "too_many_files"


def test_a_zip_of_very_many_files_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(packed: Any) -> None:
        pytest.fail("its directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    entry = b"PK\x01\x02" + bytes(42)
    directory = entry * (bundles.MOST_ENTRIES + 1)

    class Chunked(Sent):
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            """In pieces that cut the signatures in two."""
            yield from (self.content[start : start + 1001] for start in range(0, len(self.content), 1001))

    with pytest.raises(Invalid) as caught, bundled([Chunked("many.zip", directory)], most_bytes=10 * LIMIT):
        pass
    assert caught.value.code == "too_many_files"


def test_a_zip_whose_entries_share_their_bytes_is_refused() -> None:
    """Overlapping entries unpack to any size from little (https://www.bamsoftware.com/hacks/zipbomb/)."""
    content = zipped({"main.py": b"\0" * 900_000}).content
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry, record = content[start:end], bytearray(content[end:])
    copies = b"".join(entry.replace(b"main.py", b"%04d.py" % number) for number in range(100))
    struct.pack_into("<HHII", record, 8, 100, 100, len(copies), start)
    assert refused(uploaded("overlap.zip", content[:start] + copies + bytes(record))).code in {"too_large", "bad_zip"}


@settings(deadline=None, max_examples=150, derandomize=True, database=None)
@given(st.data())
def test_a_damaged_zip_is_refused_or_read(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("größe/main.py", random.Random(1).randbytes(300))
        archive.writestr("größe/b.csv", b"1,2\n" * 100)
    content = bytearray(made.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(content), len(content) // 2, len(content) - 10]))
    try:
        made_of(uploaded("damaged.zip", bytes(content[:cut])))
    except Invalid as error:
        assert error.code
        assert error.fields
