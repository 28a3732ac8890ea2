"""What is known of a Dockerfile before it is built."""

from __future__ import annotations

import pytest

from agents.orca_agent.steps.dockerfile import base_images, instructions, refusal, uses_context


def test_lines_are_joined_as_the_engine_joins_them() -> None:
    text = "\ufeffFROM a\r\n# RUN no\nRUN one \\\n  # not this\n\n  two\nRU\\\nN three\nRUN x \\"
    assert instructions(text) == ["FROM a", "RUN one   two", "RUN three", "RUN x "]


@pytest.mark.parametrize(
    ("dockerfile", "bases"),
    [
        ("FROM a\n", ["a"]),
        ("from a:1 as x\nFROM b@sha256:0\nFROM x\nFROM scratch\n", ["a:1", "b@sha256:0"]),
        ("FROM --platform=linux/amd64 a AS one\nCOPY --from=one /x /\nCOPY --from=c:2 /x /", ["a", "c:2"]),
        ("FROM a\nCOPY --from=0 /x /", ["a"]),
        ("ARG V=1\nFROM a:$V\n", []),
        ("# FROM no\nRUN echo FROM no\n", []),
        ("FROM \\\n  a\n", ["a"]),
    ],
)
def test_base_images_are_found(dockerfile: str, bases: list[str]) -> None:
    assert base_images(dockerfile) == bases


def test_files_count_where_they_are_copied() -> None:
    assert uses_context("FROM a\nCOPY . /x\n")
    assert uses_context("FROM a\n  add x /x\n")
    assert uses_context("FROM a\nONBUILD COPY x /x\n")
    assert not uses_context("FROM a\nRUN copy it\n# COPY . /\n")


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM a\nADD http://127.0.0.1:5566/x /x\n",
        "FROM a\nadd --chown=1 https://x/y /x\n",
        'FROM a\nADD ["ftp://x/y", "/x"]\n',
        "FROM a\nARG U=http://x\nADD $U /x\n",
        "FROM a\nADD git@github.com:x/y /x\n",
        "FROM a\nONBUILD ADD http://x /x\n",
        "FROM a\nA\\\nDD \\\n# a comment\n\nhttp:\\\n//x /x\n",
        "# escape=`\nFROM a\nADD `\nhttp://x /x\n",
    ],
)
def test_the_engine_fetches_nothing_for_a_build(dockerfile: str) -> None:
    assert refusal(dockerfile)


def test_what_a_base_image_adds_counts_too() -> None:
    assert refusal("FROM a\n", ["ADD http://x /x"])
    assert not refusal("FROM a\nADD files.tar /x\nCOPY $X /y\nRUN curl http://x\n", ["COPY . /x"])
