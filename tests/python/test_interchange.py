"""Arrays of other libraries: what comes in is read on the host, what goes out is theirs again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import moediff_rt
from moediff_rt import InputError

CUDA = 2  # kDLCUDA of DLPack


class DeviceArray:
    """An array that only its library can read: it hands out copies, to whom asks for the CPU."""

    device = "gpu:1"

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __dlpack_device__(self):
        return CUDA, 1

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if dl_device != (1, 0) or not copy:
            raise BufferError("it is on a device")
        return self._values.copy().__dlpack__(max_version=max_version)

    def __array_namespace__(self):
        return SimpleNamespace(__name__="elsewhere", asarray=self._asarray)

    def _asarray(self, values, device):
        assert device == self.device
        return DeviceArray(values)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 22, 12)), indexing="ij")
    tissue = 800 * (sum(axis**2 for axis in grid) < 0.5)
    return np.hypot(tissue, 8 * np.random.default_rng(0).standard_normal(tissue.shape)).astype("f4")


@pytest.fixture(scope="module")
def session(tiny_bundle, tmp_path_factory):
    engines = tmp_path_factory.mktemp("engines")
    with moediff_rt.Session(tiny_bundle, threads=1, precision="fp32", engines_dir=engines) as it:
        yield it


@pytest.fixture(scope="module")
def expected(session, volume):
    return session.enhance(volume, 2.0)


def test_a_tensor_gives_a_tensor_of_the_same_values(session, volume, expected):
    # Any strides: the first axis is the fastest here.
    tensor = torch.from_numpy(np.ascontiguousarray(volume.T)).permute(2, 1, 0)
    result = session.enhance(tensor, 2.0)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(result.numpy(), expected)


def test_an_array_on_a_device_comes_back_on_that_device(session, volume, expected):
    result = session.enhance(DeviceArray(volume), 2.0)
    assert isinstance(result, DeviceArray)
    np.testing.assert_array_equal(result._values, expected)


def test_a_tensor_of_whole_numbers_is_taken_as_an_array_of_them_is(session, volume):
    whole = volume.astype(np.int16)
    tensor = session.enhance(torch.from_numpy(whole), 2.0)
    np.testing.assert_array_equal(tensor.numpy(), session.enhance(whole, 2.0))


def test_lists_and_numpy_arrays_give_numpy_arrays(session, volume, expected):
    assert type(session.enhance(volume.tolist(), 2.0)) is np.ndarray
    assert type(expected) is np.ndarray


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: tensor.requires_grad_(), "torch.Tensor .*gradient.*detached"),
        (lambda tensor: tensor.to(torch.bfloat16), "torch.Tensor .*type that NumPy has"),
        (lambda tensor: tensor.to_sparse(), "torch.Tensor"),
        (lambda tensor: tensor[0], "shape"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_refused_by_name(session, volume, change, words):
    with pytest.raises(InputError, match=words):
        session.enhance(change(torch.from_numpy(volume.copy())), 2.0)
