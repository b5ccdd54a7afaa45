"""The compiled extension as a library among others in a process."""

import shutil
import subprocess
import sys

import pytest

from moediff_rt import _core


def test_the_extension_shows_nothing_but_its_start():
    """Else a library in the same process takes the place of what was linked into it."""
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("needs nm, on Linux")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in listed.splitlines()] == ["PyInit__core"]
