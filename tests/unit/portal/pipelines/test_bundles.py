"""What people upload, good and hostile."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from portal.core.errors import Invalid
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
    with pytest.raises(Invalid) as caught, bundled(uploads, entrypoint=entrypoint, most_bytes=LIMIT):
        pass
    return caught.value


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
