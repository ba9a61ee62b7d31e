"""Base images of a build. Images on a real engine: tests/faults/test_choice.py."""

import pytest

from invoke_stack.runtimes.docker import images


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM a:1\nRUN true\n", ["a:1"]),
        (
            "from a:1 as one\nFROM --platform=linux/amd64 b AS two\nFROM one\nFROM two\n",
            ["a:1", "b"],
        ),
        ("FROM scratch\n", []),
        ("FROM a\r\nRUN python <<END\r\nfrom os import path\r\nEND\r\n", ["a"]),
        ("ARG V\nFROM a:${V}\n", ["a:${V}"]),
    ],
)
def test_bases_are_the_external_images_of_a_dockerfile(tmp_path, dockerfile, expected):
    (tmp_path / "Dockerfile").write_text(dockerfile)
    assert list(images.bases({"context": str(tmp_path)})) == expected
    assert list(images.bases({"context": ".", "dockerfile_inline": dockerfile})) == expected


def test_bases_are_empty_without_a_local_dockerfile(tmp_path):
    assert list(images.bases({"context": "https://example.com/a.git"})) == []
    assert list(images.bases({"context": str(tmp_path), "dockerfile": "none"})) == []
