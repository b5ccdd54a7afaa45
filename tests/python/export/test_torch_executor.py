"""PyTorch behind the scheduler's interface: the reference's own results, at addresses."""

import numpy as np
import pytest
import torch
from moediff_export.modules import list_modules
from moediff_export.torch_executor import TorchExecutor

from moediff_rt.errors import BackendError

NUMPY = {"float32": np.float32, "bfloat16": np.int16}


@pytest.fixture(scope="module")
def modules(tiny_model):
    return list_modules(tiny_model, batch=4, seed=3)


def loaded(model, precision):
    executor = TorchExecutor(model, precision, device="cpu")
    assert executor.largest_batch & (executor.largest_batch - 1) == 0
    return lambda item: executor.load(item.name, "", "", list(item.inputs), list(item.outputs))


def as_bits(value, kind):
    """A tensor in memory as the GPU would have it."""
    tensor = value.to(torch.bfloat16).view(torch.int16) if kind == "bfloat16" else value
    return np.ascontiguousarray(tensor.numpy())


def as_tensor(bits, kind):
    return torch.from_numpy(bits).view(getattr(torch, kind)).float()


def outputs_of(given):
    return given if isinstance(given, tuple) else (given,)


def run(module, values, batch):
    kinds = (kind for _, _, kind in module.inputs)
    given = [as_bits(v[:batch], kind) for v, kind in zip(values, kinds, strict=True)]
    made = [
        np.full((batch, *shape), -1, NUMPY[kind])
        if kind == "bfloat16"
        else np.full((batch, *shape), np.nan, np.float32)
        for _, shape, kind in module.outputs
    ]
    addresses = [[a.ctypes.data for a in arrays] for arrays in (given, made)]
    module.enqueue(batch, *addresses, 0, 0)
    kinds = (kind for _, _, kind in module.outputs)
    return [as_tensor(a, kind) for a, kind in zip(made, kinds, strict=True)]


@pytest.mark.parametrize("batch", [1, 4])
def test_modules_give_the_references_results(tiny_model, modules, batch):
    load = loaded(tiny_model, "fp32")
    for item in modules:
        module = load(item)
        assert [name for name, _, _ in module.inputs] == list(item.inputs)
        assert [name for name, _, _ in module.outputs] == list(item.outputs)
        assert {kind for _, _, kind in (*module.inputs, *module.outputs)} == {"float32"}
        values = list(item.inputs.values())
        with torch.inference_mode():
            expected = outputs_of(item.module(*(v[:batch] for v in values)))
        for found, wanted in zip(run(module, values, batch), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_low_precision_is_what_experts_read_and_write_alone(tiny_model, modules):
    load = loaded(tiny_model, "bf16")
    low = set()
    for item in modules:
        module = load(item)
        low |= {
            (item.name.split("_")[0], name)
            for name, _, kind in (*module.inputs, *module.outputs)
            if kind == "bfloat16"
        }
        values = list(item.inputs.values())
        found = run(module, values, 4)
        with torch.inference_mode():
            truth = outputs_of(item.module(*values))
            with torch.autocast("cpu", torch.bfloat16):
                plain = outputs_of(item.module(*values))
        for ours, wanted, theirs in zip(found, truth, plain, strict=True):
            # Its tensors are rounded besides, to 8 bits.
            rounding = 2**-8 * wanted.norm()
            assert (ours - wanted).norm() <= 2 * (theirs - wanted).norm() + rounding
    experts = {("expert", name) for name in ("z_t", "z_c", "z0")}
    assert low == experts | {("conditioner", "z_c")}


@pytest.mark.parametrize("precision", ["tf32", "auto", "FP16"])
def test_a_precision_that_pytorch_has_not_is_refused_by_name(tiny_model, precision):
    with pytest.raises(
        BackendError, match=f"expected precision fp32, fp16, bf16, found {precision}"
    ):
        TorchExecutor(tiny_model, precision, device="cpu")
