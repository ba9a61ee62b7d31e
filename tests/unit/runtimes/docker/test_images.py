"""Which images a build begins from. What is on an engine: tests/faults/test_choice.py."""

import pytest

from invoke_stack.runtimes.docker import images


@pytest.mark.parametrize(
    ("dockerfile", "images_needed"),
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
def test_bases_are_the_images_that_a_build_begins_from(tmp_path, dockerfile, images_needed):
    (tmp_path / "Dockerfile").write_text(dockerfile)
    assert list(images.bases({"context": str(tmp_path)})) == images_needed
    assert list(images.bases({"context": ".", "dockerfile_inline": dockerfile})) == images_needed


def test_bases_are_not_known_if_the_dockerfile_is_elsewhere(tmp_path):
    assert list(images.bases({"context": "https://example.com/a.git"})) == []
    assert list(images.bases({"context": str(tmp_path), "dockerfile": "none"})) == []
