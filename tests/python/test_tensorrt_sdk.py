"""TensorRT's backends for programs without Python, against NVIDIA's own headers; needs no GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "csrc"
PRODUCTS = {"tensorrt": "TENSORRT_ROOT", "tensorrt_rtx": "TENSORRT_RTX_ROOT"}


@pytest.fixture
def cmake(tmp_path):
    """Runs cmake in an empty folder with TensorRT's places as a test gives them."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    tool = shutil.which("cmake", path=path)
    if tool is None:
        pytest.skip("no cmake: neither it nor its wheel is installed")
    environment = {k: v for k, v in os.environ.items() if k not in PRODUCTS.values()}

    def run(*arguments):
        return subprocess.run(
            [tool, *arguments],
            cwd=tmp_path,
            env=environment | {"PATH": path},
            capture_output=True,
            text=True,
        )

    return run


def configure(cmake, *settings):
    parts = ("-DMOEDIFF_RT_PYTHON=OFF", "-DMOEDIFF_RT_OPENVINO=OFF", "-DMOEDIFF_RT_TESTS=OFF")
    return cmake("-S", str(SOURCE), "-B", ".", *parts, *settings)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_backend_compiles_with_the_sdk(cmake, product):
    root = os.environ.get(PRODUCTS[product])
    if not root:
        pytest.skip(f"no SDK: {PRODUCTS[product]} is not set")
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc: TensorRT's headers need CUDA's")
    configured = configure(cmake, f"-D{PRODUCTS[product]}={root}")
    assert configured.returncode == 0, configured.stderr
    built = cmake("--build", ".", "--target", f"mdr_{product}")
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_folder_that_is_no_sdk_is_refused(cmake, product, tmp_path):
    refused = configure(cmake, f"-D{PRODUCTS[product]}={tmp_path}", "-DMOEDIFF_RT_CUDA=OFF")
    assert refused.returncode != 0
    words = " ".join(refused.stderr.split())
    assert f"Expected an SDK of {product} with include/NvInferRuntime.h, found none" in words
