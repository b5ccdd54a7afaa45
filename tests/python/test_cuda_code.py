"""What nvcc made of the kernels; needs no GPU."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moediff_rt import _core

LOAD_128, STORE_128, LOAD_64 = "LDG.E.128", "STG.E.128", "LDG.E.64"


@pytest.fixture(scope="module")
def cuobjdump():
    """Runs cuobjdump on the extension, from PATH or from its wheel; nvdisasm lies beside it."""
    if not _core.cuda_built():
        pytest.skip("this build has no CUDA: nvcc was not there when it was made")
    wheels = [Path(folder) / "nvidia" for folder in sys.path]
    folders = [str(tool.parent) for wheel in wheels for tool in wheel.glob("*/bin/cuobjdump")]
    path = os.pathsep.join([os.environ["PATH"], *folders])
    tool = shutil.which("cuobjdump", path=path)
    if tool is None:
        pytest.skip("no cuobjdump: neither the CUDA toolkit nor its wheel is installed")

    def run(*options):
        done = subprocess.run(
            [tool, *options, _core.__file__],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
        )
        return done.stdout

    return run


@pytest.fixture(scope="module")
def resources(cuobjdump):
    """(target, kernel) to {"REG": n, "STACK": n, ...} from the resource report."""
    found, target, kernel = {}, "", ""
    for line in cuobjdump("--dump-resource-usage").splitlines():
        if match := re.match(r"arch = (\w+)", line):
            target = match[1]
        elif match := re.match(r"\s*Function (\w+):", line):
            kernel = match[1]
        elif "REG:" in line:
            found[target, kernel] = {
                key: int(value) for key, value in re.findall(r"(\w+(?:\[\d+\])?):(\d+)", line)
            }
    return found


def test_the_extension_has_every_kernel_for_every_target(resources):
    targets = {target for target, _ in resources}
    assert {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90"} <= targets
    by_target = [{kernel for at, kernel in resources if at == target} for target in targets]
    assert all(kernels == by_target[0] for kernels in by_target)
    for name in ("gated_step", "start_latent", "gather_rows", "blend_add", "blend_finish"):
        assert any(f"{name}_kernel" in kernel for kernel in by_target[0])


def test_the_newest_target_is_also_there_as_ptx(cuobjdump, resources):
    newest = max(int(target.removeprefix("sm_")) for target, _ in resources)
    assert f"sm_{newest}.ptx" in cuobjdump("--list-ptx")


def test_no_kernel_spills_or_uses_local_memory(resources):
    bad = {at: used for at, used in resources.items() if used["STACK"] != 0 or used["LOCAL"] != 0}
    assert resources
    assert not bad


def instructions(cuobjdump, kernels):
    """(target, kernel) to its disassembly."""
    text = cuobjdump("-sass", "-fun", ",".join(kernels))
    found, target = {}, ""
    for part in re.split(r"\n(?=arch = |\s*Function : )", text):
        if match := re.match(r"arch = (\w+)", part):
            target = match[1]
        elif match := re.match(r"\s*Function : (\w+)", part):
            found[target, match[1]] = part
    return found


def test_gated_step_reads_and_writes_16_bytes_at_once(cuobjdump, resources):
    # gated_step_kernel<Expert, kExperts, kCells = 4>, mangled.
    name = re.compile(r"gated_step_kernelI(f|6__half|13__nv_bfloat16)Li(\d+)ELi4EE")
    kernels = sorted({kernel for _, kernel in resources if name.search(kernel)})
    assert len(kernels) == 6
    listings = instructions(cuobjdump, kernels)
    assert set(listings) == {at for at in resources if at[1] in kernels}
    for (_, kernel), listing in listings.items():
        expert, experts = name.search(kernel).groups()
        state_loads, state_stores = 2, 2  # z_t and z0_prev; z_s and z0
        expert_loads = {"f": LOAD_128}.get(expert, LOAD_64)
        wanted = {LOAD_128: state_loads, STORE_128: state_stores}
        wanted[expert_loads] = wanted.get(expert_loads, 0) + int(experts)
        for instruction, count in wanted.items():
            assert listing.count(instruction) >= count, (kernel, instruction)
