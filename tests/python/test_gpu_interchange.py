"""Arrays of PyTorch and CuPy on a real GPU: read on the host, and given back on their device."""

import numpy as np
import pytest
import torch

from moediff_rt.interchange import like, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use"),
]


def on_torch(values):
    return torch.from_numpy(values).cuda()


def on_cupy(values):
    return pytest.importorskip("cupy", reason="CuPy is not installed").asarray(values)


@pytest.mark.parametrize("send", [on_torch, on_cupy])
def test_values_survive_the_way_there_and_back(send):
    values = np.random.default_rng().random((7, 6, 5), dtype=np.float32)
    array = send(values).T if send is on_cupy else send(values).permute(2, 1, 0)
    read = to_host(array)
    np.testing.assert_array_equal(read, values.transpose(2, 1, 0))
    back = like(array, np.ascontiguousarray(read))
    assert type(back) is type(array)
    assert back.device == array.device
    np.testing.assert_array_equal(to_host(back), read)


def test_what_is_queued_before_is_waited_for():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        values = torch.zeros(1 << 24, device="cuda")
        for _ in range(200):
            values = values + 1
        assert np.all(np.asarray(to_host(values)) == 200)
