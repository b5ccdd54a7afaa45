"""`make gpu-check`: build here, run every GPU test, measure, and write one JSON.

For a bare GPU machine: nvcc, CMake, PyTorch, CuPy, pybind11, pytest and NumPy; no network, and
neither OpenVINO nor TensorRT need be there. Nothing is installed: the package is put together in
the build folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "gpu"
PACKAGE = BUILD / "package"
# The kernels alone: under the sanitizer a network takes minutes.
SANITIZED = ("memcheck", "racecheck", "initcheck")
TESTS = ROOT / "tests" / "python"
# Of `gpu_figures.py`, a process each: what ends one takes nothing from the others.
GROUPS = ("step", "volume", "torch", "pytorch", "tensorrt", "tensorrt-rtx", "compiled")
GROUP_SECONDS = 300  # PyTorch tunes for minutes, too
OPS_TESTS = TESTS / "test_gpu_ops.py"


@dataclass
class Report:
    """What was found; `failed` names the parts that did not end well."""

    parts: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def run(self, name: str, command: list[str], seconds: float) -> bool:
        """Run a command with the built package on the path; keep its exit status and time."""
        print(f"== {name}", flush=True)
        # Python looks where it is started first: the source tree has no extension.
        PACKAGE.mkdir(parents=True, exist_ok=True)
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = os.pathsep.join((str(PACKAGE), str(ROOT / "export"), *filter(None, given)))
        begin = time.monotonic()
        try:
            code = subprocess.run(
                command, cwd=PACKAGE, env=os.environ | {"PYTHONPATH": paths}, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        self.parts[name] = {"exit": code, "seconds": round(time.monotonic() - begin, 1)}
        if code:
            self.failed.append(name)
        return code == 0


def build(report: Report) -> bool:
    """Compile the extension without OpenVINO and put the package together."""
    configure = ["cmake", "-S", str(ROOT / "csrc"), "-B", str(BUILD), "-DMOEDIFF_RT_OPENVINO=OFF"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    compile_all = ["cmake", "--build", str(BUILD), "-j", str(os.cpu_count() or 1)]
    if not (report.run("configure", configure, 120) and report.run("compile", compile_all, 300)):
        return False
    shutil.rmtree(PACKAGE / "moediff_rt", ignore_errors=True)
    shutil.copytree(ROOT / "moediff_rt", PACKAGE / "moediff_rt")
    for module in BUILD.glob("_core*.so"):
        shutil.copy2(module, PACKAGE / "moediff_rt")
    return True


def check(report: Report) -> None:
    """Every GPU test, and the kernels once more under each tool of the sanitizer."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "-rs"]
    pytest += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    # By name: other tests import what need not be here.
    report.run("tests", [*pytest, *map(str, sorted(TESTS.glob("test_gpu_*.py")))], 240)
    sanitizer = shutil.which("compute-sanitizer")
    for tool in SANITIZED if sanitizer else ():
        command = [str(sanitizer), "--tool", tool, "--error-exitcode", "9"]
        # A launch that must fail is an error to it.
        command += [*pytest, "-k", "not no_launch_can_hold", str(OPS_TESTS)]
        report.run(f"sanitizer {tool}", command, 120)
    if not sanitizer:
        report.parts["sanitizer"] = "compute-sanitizer is not installed"
        report.failed.append("sanitizer")


def measure(report: Report, scan: Path | None) -> dict[str, Any]:
    """Every group of figures, each within `GROUP_SECONDS`."""
    figures: dict[str, Any] = {}
    for group in (*GROUPS, *(["scan"] if scan else [])):
        place = BUILD / f"figures-{group}.json"
        command = [sys.executable, str(ROOT / "benchmarks" / "gpu_figures.py"), group, str(place)]
        if group == "scan":
            command += ["--scan", str(scan)]
        if report.run(f"figures {group}", command, GROUP_SECONDS):
            figures[group] = json.loads(place.read_text())
    return figures


def main() -> int:
    """Run it all; the exit status says whether everything went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "gpu-check.json")
    parser.add_argument("--scan", type=Path, help="a head to enhance from file to file")
    options = parser.parse_args()
    if options.scan and not options.scan.is_file():
        parser.error(f"expected a scan, found none at {options.scan}; check the path")
    import torch

    if not torch.cuda.is_available():
        print(
            "gpu-check: expected a GPU that PyTorch can use, found none; this computer has none "
            "or, probably, a driver that is older than this PyTorch; run it on another"
        )
        return 2
    report = Report()
    figures: dict[str, Any] = {}
    if build(report):
        check(report)
        figures = measure(report, options.scan and options.scan.resolve())
    found = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name(),
        "capability": list(torch.cuda.get_device_capability()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "parts": report.parts,
        "failed": report.failed,
        "figures": figures,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    for name, part in report.parts.items():
        print(f"{name:24} {part}")
    for group, found_there in figures.items():
        for name, value in found_there.items():
            print(f"{group:12} {name:48} {value}")
    print(f"written to {options.output}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
