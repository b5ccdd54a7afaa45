"""Wrong arguments to the CUDA ops; refused before anything is launched, so without a GPU too."""

import pytest

from moediff_rt import _core
from moediff_rt.errors import BackendError, InputError

STEP = {
    "shape": (2, 4, 8, 8),
    "gate": (4, 4),
    "z_t": 64,
    "experts": [64, 64, 64],
    "expert_type": "float16",
    "slots": 64,
    "gates": 64,
    "z0_prev": 64,
    "origins": 64,
    "c_z": 0.5,
    "c_0": 0.5,
    "c_1": 0.5,
    "c_n": 0.5,
    "seed": 0,
    "noise_index": 1,
    "z_s": 64,
    "z0": 64,
}
START = {
    **{name: STEP[name] for name in ("shape", "expert_type", "slots", "origins", "seed")},
    **{"z_low": 0, "signal": 0.5, "spread": 0.5, "experts": 3, "z": 64},
}
GATHER = {"tiles": 2, "row": 8, "expert_type": "float32", "slots": 64, "source": 64, "to": [64]}
ADD = {
    **{"shape": (2, 8, 8), "slice_shape": (16, 16)},
    **{"images": 64, "places": 64, "sum": 64, "weight": 64},
}
FINISH = {"sum": 64, "weight": 64, "input": 64, "count": 8, "out": 64}


@pytest.mark.parametrize(
    ("op", "arguments", "change", "words"),
    [
        ("gated_step_cuda", STEP, {"experts": []}, "1 to 8 experts, found 0"),
        ("gated_step_cuda", STEP, {"experts": [64] * 9}, "1 to 8 experts, found 9"),
        ("gated_step_cuda", STEP, {"expert_type": "float8"}, "bfloat16, found float8"),
        ("gated_step_cuda", STEP, {"shape": (2, 4, 0, 8)}, "positive shape, found 0"),
        ("gated_step_cuda", STEP, {"gate": (0, 4)}, "positive shape, found 0"),
        ("gated_step_cuda", STEP, {"slots": 0}, "address of slots"),
        ("gated_step_cuda", STEP, {"z0_prev": 0}, "z0_prev where c_1 is not 0"),
        ("gated_step_cuda", STEP, {"origins": 0}, "origins where c_n is not 0"),
        ("gated_step_cuda", STEP, {"expert_z": [64]}, "each of 3 experts, found 1"),
        ("start_latent_cuda", START, {"z": 0}, "address of z"),
        ("start_latent_cuda", START, {"experts": 0}, "1 to 8 experts"),
        ("start_latent_cuda", START, {"expert_z": [64]}, "each of 3 experts, found 1"),
        ("gather_rows_cuda", GATHER, {"row": 0}, "positive row"),
        ("gather_rows_cuda", GATHER, {"to": []}, "1 to 8 experts"),
        ("blend_add_cuda", ADD, {"shape": (0, 8, 8)}, "positive shape"),
        ("blend_add_cuda", ADD, {"places": 0}, "address of places"),
        ("blend_finish_cuda", FINISH, {"count": 0}, "positive count"),
        ("blend_finish_cuda", FINISH, {"out": 0}, "address of out"),
    ],
)
def test_wrong_arguments_are_refused(op, arguments, change, words):
    with pytest.raises(InputError, match=f"{op}: .*{words}"):
        getattr(_core, op)(**{**arguments, **change})


@pytest.mark.skipif(_core.cuda_built(), reason="this build has CUDA")
@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("gated_step_cuda", STEP),
        ("start_latent_cuda", START),
        ("gather_rows_cuda", GATHER),
        ("blend_add_cuda", ADD),
        ("blend_finish_cuda", FINISH),
    ],
)
def test_a_build_without_cuda_says_so(op, arguments):
    with pytest.raises(BackendError, match="expected a build with CUDA, found one without"):
        getattr(_core, op)(**arguments)
