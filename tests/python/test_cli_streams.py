"""The command where its streams are closed, full, a terminal, or have few characters."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest
from cli_scan import SHAPE

from moediff_rt.progress import progress_on


@pytest.mark.parametrize(
    "closed", ["0<&-", "1>&-", "2>&-", "1>&- 2>&-", "2>/dev/full", "-v 2>/dev/full"]
)
def test_a_closed_or_full_stream_is_no_reason_to_fail(scan, tiny_bundle, closed):
    command = [sys.executable, "-m", "moediff_rt", "infer", str(scan)]
    command += ["--bundle", str(tiny_bundle), "--threads", "1"]
    shell = f"exec {shlex.join(command)} {closed}"
    assert subprocess.run(shell, shell=True, cwd=scan.parent).returncode == 0
    assert len(os.listdir(scan.parent)) == 3


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"]], ids=" ".join)
def test_a_full_disk_under_stdout_is_one_line_that_says_where_the_result_is(
    scan, tiny_bundle, options
):
    said = onto_full_disk(scan, "infer", scan, "--bundle", tiny_bundle, *options)
    output = scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz")
    assert "stdout cannot be written: No space left" in said
    assert f"the result is in {output}" in said and nib.load(output).shape[0] == 2 * SHAPE[0]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=" ".join)
def test_info_onto_a_full_disk_is_one_line(scan, options):
    assert "stdout cannot be written: No space left" in onto_full_disk(scan, "info", *options)


def onto_full_disk(scan: Path, *options: object) -> str:
    """The last line that a command says whose stdout takes nothing."""
    command = [sys.executable, "-m", "moediff_rt", *map(str, options)]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=scan.parent
        )
    assert ran.returncode == 1
    assert "unexpected" not in ran.stderr and "Traceback" not in ran.stderr
    return ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("options", ["", "-v"])
def test_an_exit_code_is_kept_where_its_line_cannot_be_said(tmp_path, options):
    command = f"{shlex.quote(sys.executable)} -m moediff_rt infer none.nii {options} 2>/dev/full"
    assert subprocess.run(command, shell=True, cwd=tmp_path).returncode == 2


class Terminal(io.StringIO):
    """It takes what is written until it is full."""

    is_full = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_terminal_that_takes_no_more_stops_no_progress():
    stream = Terminal()
    with progress_on(stream, quiet=False) as progress:
        progress(1, 4)
        assert "/4" in stream.getvalue()
        stream.is_full = True
        progress(4, 4)


def test_a_name_the_terminal_cannot_show_is_escaped(scan, tiny_bundle):
    name = os.fsdecode("sc\u00e4n".encode() + b"\xff.nii.gz")
    named = scan.rename(scan.with_name(name))
    command = [sys.executable, "-m", "moediff_rt", "infer", str(named), "--json"]
    command += ["--bundle", str(tiny_bundle), "--threads", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, cwd=named.parent, env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["provenance"]["Sources"][0]["Name"] == name
    (sidecar,) = named.parent.glob("*.json")
    assert json.loads(sidecar.read_text())["Sources"][0]["Name"] == name
