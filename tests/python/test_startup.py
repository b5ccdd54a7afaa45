"""What takes long to import is imported where it is used, and nowhere before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "scipy",
    "nibabel",
    "pydicom",
    "PIL",
    "tqdm",
    "isal",
    "openvino",
    "onnx",
    "torch",
    "SimpleITK",
    "ismrmrd",
    "prometheus_client",
    "tensorrt",
    "tensorrt_rtx",
    "moediff_rt._core",
    "moediff_rt.session",
)
# What a run on a NIfTI scan never has a use for, whatever is installed.
ELSEWHERE = (
    "openvino",
    "onnx",
    "torch",
    "SimpleITK",
    "ismrmrd",
    "prometheus_client",
    "tensorrt",
    "tensorrt_rtx",
    "moediff_rt.serve",
    "moediff_rt.figure",
    "moediff_rt.gradients",
)


def loaded_after(code: str, names: tuple[str, ...]) -> set[str]:
    """Which of the modules a fresh interpreter has after the code."""
    ask = f"{code}\nimport sys\nprint('loaded:', *({names!r} & sys.modules.keys()))"
    ask = ask.replace(repr(names), repr(set(names)))
    # Elsewhere: the source tree has a moediff_rt without its extension.
    elsewhere = os.path.dirname(sys.executable)
    ran = subprocess.run(
        [sys.executable, "-c", ask], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    line = ran.stdout.splitlines()[-1]
    assert line.startswith("loaded:")
    return set(line.split()[1:])


def asked(*arguments: str) -> str:
    """Code that calls the command and goes on when it ends."""
    return (
        "import contextlib\nfrom moediff_rt.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({list(arguments)!r})"
    )


def test_the_question_sees_what_is_loaded():
    assert loaded_after("import numpy, nibabel", HEAVY) >= {"numpy", "nibabel"}


@pytest.mark.parametrize(
    "code",
    ["import moediff_rt", asked("--version"), asked("--help"), asked("infer", "--help")],
    ids=["import", "version", "help", "infer help"],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code):
    assert loaded_after(code, HEAVY) == set()


def test_a_session_needs_numpy_and_the_core_alone():
    found = loaded_after("import moediff_rt; moediff_rt.Session()", HEAVY)
    assert found == {"numpy", "moediff_rt._core", "moediff_rt.session"}


def test_a_scan_is_read_with_nothing_of_other_commands():
    code = (
        "import nibabel, numpy, tempfile\nfrom moediff_rt.cli import main\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    scan = nibabel.Nifti1Image(numpy.zeros((4, 4, 4), 'i2'), numpy.eye(4))\n"
        "    nibabel.save(scan, folder + '/scan.nii.gz')\n"
        "    assert main(['infer', folder + '/scan.nii.gz']) == 2"
    )
    assert loaded_after(code, ELSEWHERE) == set()
