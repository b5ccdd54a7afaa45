"""How time and memory grow with the scan: `moediff-rt infer` on one head at two voxel sizes."""

import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from moediff_export.data.held_out import FULL_SCALE, load_truth
from moediff_export.data.scanner import rician_noise, truncate_kspace

FIELD_OF_VIEW = 256  # mm, and voxels of the finest scan
NOISE = 0.02


def write_scan(path: Path, voxels: int) -> None:
    """The held-out head in a cubic field of view of ``voxels`` along each axis, as int16."""
    truth, _ = load_truth()
    whole = np.zeros((FIELD_OF_VIEW,) * 3, np.float32)
    start = [(FIELD_OF_VIEW - n) // 2 for n in truth.shape]
    whole[tuple(slice(s, s + n) for s, n in zip(start, truth.shape, strict=True))] = truth
    low = whole if voxels == FIELD_OF_VIEW else truncate_kspace(whole, (voxels,) * 3)
    low = rician_noise(np.random.default_rng(0), low, NOISE * FULL_SCALE)
    edge = FIELD_OF_VIEW / voxels
    image = nib.Nifti1Image(np.rint(low).astype(np.int16), np.diag([edge, edge, edge, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def infer(scan: Path) -> int:
    """Enhance to half the voxel edge in a process of its own; its peak memory in bytes."""
    command = [Path(sys.executable).with_name("moediff-rt"), "infer", scan, "-q", "--overwrite"]
    arguments = [os.fspath(part) for part in command]
    child = os.posix_spawn(arguments[0], arguments, os.environ)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return 1024 * usage.ru_maxrss


@pytest.mark.benchmark(group="growth")
@pytest.mark.parametrize("voxels", [128, 256])
def test_infer_grows_with_the_scan(benchmark, tmp_path, voxels):
    scan = tmp_path / "scan.nii"
    write_scan(scan, voxels)
    peak = benchmark.pedantic(infer, args=(scan,), rounds=1, warmup_rounds=0)
    output = (2 * voxels) ** 3
    benchmark.extra_info["output_voxels"] = output
    benchmark.extra_info["peak_memory_gb"] = round(peak / 1e9, 2)
    benchmark.extra_info["microseconds_per_voxel"] = 1e6 * benchmark.stats.stats.median / output
    assert peak < 4e9
