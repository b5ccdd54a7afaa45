"""Builds the extension moediff_rt._core with the CMake description in csrc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# OFF in the environment leaves one out.
OPTIONAL_PARTS = ("MOEDIFF_RT_OPENVINO", "MOEDIFF_RT_CUDA")


class FreshBuild(build_py):
    """Begins with an empty folder: setuptools would ship what an older source left there."""

    def run(self) -> None:
        """Copy the package; the extension's module comes after."""
        if os.path.isdir(self.build_lib) and not self.editable_mode:
            shutil.rmtree(self.build_lib)
        super().run()


class CMakeExtension(Extension):
    """An extension whose sources CMake knows."""

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[])


class CMakeBuild(build_ext):
    """Runs CMake in the build folder and puts the module where setuptools wants it."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension, with CMake when it is a CMakeExtension."""
        if not isinstance(ext, CMakeExtension):
            super().build_extension(ext)
            return
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        generator = "ninja" if shutil.which("ninja") else "make"
        build = Path(self.build_temp).resolve() / f"{ext.name}-{generator}"
        configure = [
            "cmake",
            "-S",
            str(ROOT / "csrc"),
            "-B",
            str(build),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DMOEDIFF_RT_VERSION={self.distribution.get_version()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            *(f"-D{part}={os.environ.get(part, 'ON')}" for part in OPTIONAL_PARTS),
        ]
        # The build folder outlives pip's build environment: tell it where the tools are now.
        if ninja := shutil.which("ninja"):
            configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(configure, check=True)
        jobs = str(self.parallel or os.cpu_count() or 1)
        subprocess.run(["cmake", "--build", str(build), "-j", jobs], check=True)


setup(
    ext_modules=[CMakeExtension("moediff_rt._core")],
    cmdclass={"build_py": FreshBuild, "build_ext": CMakeBuild},
)
