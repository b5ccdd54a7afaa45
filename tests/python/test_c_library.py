"""The C library as others use it: installed, then built against by projects that know only that."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import moediff_rt

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "csrc" / "examples"
STRICT = "-Wall -Wextra -pedantic-errors -Werror"
# A build with the C library in it, as `make test` has made one: installed from instead of another.
BUILD = os.environ.get("MOEDIFF_RT_C_LIBRARY_BUILD")


def run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def succeed(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tools():
    """An environment in which things are built; it has cmake, and no path to OpenVINO."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("cmake", path=path) is None:
        pytest.skip("no cmake: neither it nor its wheel is installed")
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    if shutil.which("ninja", path=path):
        environment["CMAKE_GENERATOR"] = "Ninja"
    return environment | {"PATH": path}


@pytest.fixture(scope="module")
def prefix(tools, tmp_path_factory):
    """A folder that the library was installed into, and that was moved since."""
    folder = tmp_path_factory.mktemp("c-library")
    build = Path(BUILD).absolute() if BUILD else folder / "build"
    if not BUILD:
        succeed(
            "cmake", "-S", ROOT / "csrc", "-B", build, "-DMOEDIFF_RT_C_LIBRARY=ON",
            "-DMOEDIFF_RT_PYTHON=OFF", "-DMOEDIFF_RT_CUDA=OFF",
            f"-DPython_EXECUTABLE={sys.executable}", env=tools,
        )  # fmt: skip
        succeed("cmake", "--build", build, "-j", "2", env=tools)
    succeed("cmake", "--install", build, "--prefix", folder / "first", env=tools)
    (folder / "first").rename(folder / "prefix")
    return folder / "prefix"


@pytest.fixture(scope="module")
def by_cmake(prefix, tools, tmp_path_factory):
    """The example, built by a CMake project that knows only the prefix."""
    folder = tmp_path_factory.mktemp("outside-cmake")
    shutil.copytree(EXAMPLES, folder / "source")
    succeed(
        "cmake", "-S", folder / "source", "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DCMAKE_C_FLAGS={STRICT}", env=tools,
    )  # fmt: skip
    succeed("cmake", "--build", folder / "build", env=tools)
    return folder / "build" / "embed"


@pytest.fixture(scope="module")
def with_pkg_config(prefix, tools):
    """The environment in which pkg-config finds the library."""
    if shutil.which("pkg-config") is None:
        pytest.skip("no pkg-config")
    return tools | {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}


@pytest.fixture(scope="module")
def by_makefile(with_pkg_config, tmp_path_factory):
    """The example, built by a Makefile with pkg-config."""
    folder = tmp_path_factory.mktemp("outside-make")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    succeed("make", "embed", cwd=folder, env=with_pkg_config | {"CFLAGS": STRICT})
    return folder / "embed"


def embed(program, bundle, volume, folder, voxel_mm=2.0):
    """Run the example on an (x, y, z) volume, without Python and OpenVINO in its environment."""
    source, result = folder / "in.raw", folder / "out.raw"
    source.write_bytes(volume.astype(np.float32).tobytes(order="F"))
    environment = {"MOEDIFF_RT_CACHE": str(folder / "cache"), "LC_ALL": "C"}
    return run(program, bundle, source, *volume.shape, voxel_mm, result, env=environment), result


def enhanced(program, bundle, volume, folder, voxel_mm=2.0):
    done, result = embed(program, bundle, volume, folder, voxel_mm)
    assert done.returncode == 0, done.stderr
    shape = [int(word) for word in done.stdout.split()[:3]]
    return np.fromfile(result, dtype=np.float32).reshape(shape, order="F")


def assert_equal_to_python(found, bundle, volume, folder, voxel_mm=2.0):
    with moediff_rt.Session(bundle, engines_dir=folder / "cache" / "engines") as session:
        expected = session.enhance(volume.astype(np.float32), voxel_mm)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * float(np.abs(expected).max()))


def head(rng, shape=(24, 20, 16)):
    """A bright ball with texture in dark air."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.7
    return np.where(inside, 600 + 100 * rng.random(shape), 5 * rng.random(shape))


@pytest.mark.parametrize("program", ["by_cmake", "by_makefile"])
def test_c_and_python_give_the_same_voxels(program, tiny_bundle, rng, tmp_path, request):
    volume = head(rng)
    found = enhanced(request.getfixturevalue(program), tiny_bundle, volume, tmp_path)
    assert_equal_to_python(found, tiny_bundle, volume, tmp_path)


def test_a_real_volume_through_the_default_bundle(by_cmake, tmp_path):
    scan = nib.load(ROOT / "tests" / "data" / "sample_T1w.nii.gz")
    nx, ny, nz = (n // 2 for n in scan.shape[:3])
    volume = np.asarray(scan.dataobj)[nx - 12 : nx + 12, ny - 14 : ny + 14, nz - 4 : nz + 4]
    voxel_mm = float(scan.header.get_zooms()[0])
    bundle = ROOT / "moediff_rt" / "bundles" / "edge"
    found = enhanced(by_cmake, bundle, volume, tmp_path, voxel_mm)
    assert_equal_to_python(found, bundle, volume, tmp_path, voxel_mm)


def test_engines_are_kept_for_the_next_start(by_cmake, tiny_bundle, rng, tmp_path):
    volume = head(rng)
    first, _ = embed(by_cmake, tiny_bundle, volume, tmp_path)
    again, _ = embed(by_cmake, tiny_bundle, volume, tmp_path)
    assert "decoder: built for openvino" in first.stderr
    assert "decoder: loaded for openvino" in again.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda volume: np.where(volume > 650, np.nan, volume), "MDR_INPUT_ERROR: expected finite"),
        (lambda volume: volume[:, :, :3], "MDR_INPUT_ERROR: expected at least 8 voxels"),
        (lambda volume: volume * 0, "MDR_INPUT_ERROR: expected a scan with contrast"),
    ],
)
def test_a_scan_that_cannot_be_used_is_refused(change, words, by_cmake, tiny_bundle, rng, tmp_path):
    done, result = embed(by_cmake, tiny_bundle, change(head(rng)), tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert not result.exists()


def test_a_damaged_bundle_is_refused(by_cmake, tiny_bundle, rng, tmp_path):
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    with open(damaged / "gate.onnx", "ab") as file:
        file.write(b"x")
    done, result = embed(by_cmake, damaged, head(rng), tmp_path)
    assert done.returncode == 1
    assert "MDR_BUNDLE_ERROR" in done.stderr
    assert "gate.onnx" in done.stderr
    assert not result.exists()


def test_eight_threads_share_one_engine_and_nothing_is_printed(
    with_pkg_config, tiny_bundle, tmp_path
):
    program = tmp_path / "threads"
    flags = succeed("pkg-config", "--cflags", "--libs", "moediff_rt", env=with_pkg_config).split()
    folder = succeed("pkg-config", "--variable=libdir", "moediff_rt", env=with_pkg_config).strip()
    succeed(
        "cc", "-std=c99", *STRICT.split(), ROOT / "tests" / "csrc" / "test_c_threads.c", "-o",
        program, *flags, f"-Wl,-rpath,{folder}", "-lpthread", env=with_pkg_config,
    )  # fmt: skip
    done = run(program, tiny_bundle, env={})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all claims hold\n"
    assert done.stderr == ""


def test_only_the_headers_functions_can_be_seen(prefix):
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    listed = succeed("nm", "-D", "--defined-only", prefix / "lib" / "libmoediff_rt.so")
    functions = {line.split()[-1].split("@")[0] for line in listed.splitlines() if " T " in line}
    assert {"mdr_engine_load", "mdr_enhance", "mdr_last_error"} <= functions
    others = [line for line in listed.splitlines() if " T mdr_" not in line]
    assert [line.split()[-1] for line in others] == ["MOEDIFF_RT_1"]


def test_the_header_is_cplusplus_too(prefix, tools):
    header = prefix / "include" / "moediff_rt.h"
    succeed("c++", "-std=c++11", *STRICT.split(), "-fsyntax-only", "-x", "c++", header, env=tools)


def test_the_library_is_of_the_packages_version(with_pkg_config):
    found = succeed("pkg-config", "--modversion", "moediff_rt", env=with_pkg_config)
    assert found.strip() == moediff_rt.__version__
