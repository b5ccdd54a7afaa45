"""What `pip install .` puts into the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_what_has_left_the_source_is_not_installed(tmp_path):
    pytest.importorskip("setuptools", "77", reason="needs setuptools 77")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    package, built = tmp_path / "moediff_rt", tmp_path / "build/lib/moediff_rt"
    for folder in (package, built):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (built / "merge.py").touch()
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "build/lib"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert os.listdir(built) == ["__init__.py"]
