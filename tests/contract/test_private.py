"""Secrets and data are for their owner alone, whatever the umask of whoever called."""

import os
import stat
import subprocess
import sys

import pytest

from harness.stacks import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_what_a_stack_writes_is_readable_by_its_owner_only(stack):
    umask = os.umask(0)
    try:
        stack.ok("backup")
        stack.ok("restart", "frontend")
    finally:
        os.umask(umask)
    ours = [stack.root / name for name in (".env", ".local", "backups")]
    ours = [path for path in ours if path.exists()]
    assert len(ours) >= 2
    written = [*ours, *(inner for path in ours for inner in path.rglob("*"))]
    for path in written:
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or not mode & 0o077, f"{path} is {stat.filemode(mode)}"
        assert path.lstat().st_uid == os.getuid()


def test_git_takes_none_of_it_along():
    names = (".env", ".local/lock", "backups/x.dump")
    told = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.split() == list(names)
