"""Secrets and data are readable by their owner only, whatever the umask."""

import os
import stat
import subprocess
import sys

import pytest

from harness.stacks import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_private_files_are_readable_by_their_owner_only(stack):
    umask = os.umask(0)
    try:
        stack.ok("backup")
        stack.ok("restart", "frontend")
    finally:
        os.umask(umask)
    roots = [stack.root / name for name in (".env", ".local", "backups")]
    roots = [path for path in roots if path.exists()]
    assert len(roots) >= 2
    paths = [*roots, *(inner for path in roots for inner in path.rglob("*"))]
    for path in paths:
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or not mode & 0o077, f"{path} is {stat.filemode(mode)}"
        assert path.lstat().st_uid == os.getuid()


def test_private_files_are_ignored_by_git():
    names = (".env", ".local/lock", "backups/x.dump")
    command = ["git", "check-ignore", *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == list(names)
