"""The CUDA ops on a GPU, against the CPU ops bit for bit and against float64."""

import contract_ops
import numpy as np
import pytest

from moediff_rt import _core
from moediff_rt.errors import BackendError

pytestmark = pytest.mark.gpu

SHAPES = [(1, 4, 128, 128), (64, 4, 32, 32), (2, 512, 8, 8), (3, 5, 7, 37), (2, 3, 5, 1030)]
TYPES = ["float32", "float16", "bfloat16"]
STORED = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


def rounded(values, expert_type):
    """float32 ``values`` as an expert stores them, to nearest even."""
    if expert_type != "bfloat16":
        return values.astype(STORED[expert_type])
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widened(stored, expert_type):
    """What an expert stored, in float32."""
    if expert_type != "bfloat16":
        return stored.astype(np.float32)
    return (stored.astype(np.uint32) << 16).view(np.float32)


def assert_same_bits(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def random_slots(rng, tiles, experts, sparse):
    """(tiles, experts) rows in shuffled batches; each tile keeps an expert."""
    runs = np.ones((tiles, experts), bool)
    if sparse:
        runs = rng.random((tiles, experts)) < 0.6
        runs[np.arange(tiles), rng.integers(experts, size=tiles)] = True
    slots = np.full((tiles, experts), -1, np.int32)
    for i in range(experts):
        slots[runs[:, i], i] = rng.permutation(runs[:, i].sum())
    return slots


class Step:
    """Random inputs of one gated_step, on the CPU and on the GPU."""

    def __init__(self, rng, gpu, shape, expert_type, experts=3, sparse=False, noisy=True, gate=4):
        tiles = shape[0]
        self.gpu, self.shape, self.expert_type = gpu, shape, expert_type
        self.scalars = dict.fromkeys(("c_1", "c_n"), 0.0) | {"c_z": 0.6, "c_0": 0.7}
        if noisy:
            self.scalars |= {"c_1": -0.2, "c_n": 0.3}
        self.scalars |= {"seed": int(rng.integers(1 << 63)), "noise_index": 2}
        self.z_t, self.z0_prev = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        self.slots = random_slots(rng, tiles, experts, sparse)
        self.experts = [
            rounded(rng.standard_normal(shape, dtype=np.float32), expert_type)
            for _ in range(experts)
        ]
        self.gates = rng.random((tiles, experts, gate, gate + 1), dtype=np.float32)
        self.origins = rng.integers(0, 5000, (tiles, 3), dtype=np.int32)
        self.on_device = {
            "z_t": gpu.send(self.z_t),
            "z0_prev": gpu.send(self.z0_prev),
            "slots": gpu.send(self.slots),
            "gates": gpu.send(self.gates),
            "origins": gpu.send(self.origins),
            "z_s": gpu.poisoned(shape, np.float32),
            "z0": gpu.poisoned(shape, np.float32),
        }
        self.expert_batches = [gpu.send(batch) for batch in self.experts]
        self.next = [gpu.poisoned(shape, STORED[expert_type]) for _ in self.experts]

    def run(self, stream=0, **changes):
        _core.gated_step_cuda(
            **{
                "shape": self.shape,
                "gate": self.gates.shape[2:],
                "experts": [batch.address for batch in self.expert_batches],
                "expert_type": self.expert_type,
                "expert_z": [batch.address for batch in self.next],
                "stream": stream,
                **self.scalars,
                **{name: buffer.address for name, buffer in self.on_device.items()},
                **changes,
            }
        )

    def active(self, tile):
        """(expert, its output for the tile in float32) of those that run."""
        return [
            (i, widened(self.experts[i][row], self.expert_type))
            for i, row in enumerate(self.slots[tile])
            if row >= 0
        ]

    def on_cpu(self, tile):
        active = self.active(tile)
        return _core.gated_step(
            self.z_t[tile],
            [output for _, output in active],
            np.ascontiguousarray(self.gates[tile, [i for i, _ in active]]),
            self.z0_prev[tile],
            origin=tuple(self.origins[tile].tolist()),
            **self.scalars,
        )

    def check(self):
        z_s, z0 = self.on_device["z_s"].numpy(), self.on_device["z0"].numpy()
        for tile in range(self.shape[0]):
            expected_z, expected_z0 = self.on_cpu(tile)
            assert_same_bits(z_s[tile], expected_z)
            assert_same_bits(z0[tile], expected_z0)
        assert_expert_rows(self.next, self.slots, rounded(z_s, self.expert_type))


def assert_expert_rows(batches, slots, values):
    """Each expert's batch holds the tiles' values in their rows, and nothing else was written."""
    for i, batch in enumerate(batches):
        found = batch.numpy()
        runs = slots[:, i] >= 0
        assert_same_bits(found[slots[runs, i]], values[runs])
        unused = np.setdiff1d(np.arange(len(found)), slots[:, i])
        assert (found[unused].view(np.uint8) == 0xFF).all()


@pytest.mark.parametrize("expert_type", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_gated_step_gives_the_bits_of_the_cpu(gpu, rng, shape, expert_type, sparse, noisy):
    step = Step(rng, gpu, shape, expert_type, sparse=sparse, noisy=noisy)
    step.run()
    step.check()


@pytest.mark.parametrize("expert_type", TYPES)
@pytest.mark.parametrize("experts", [1, 4, 5, 8])
def test_gated_step_takes_any_number_of_experts(gpu, rng, experts, expert_type):
    step = Step(rng, gpu, (5, 4, 16, 16), expert_type, experts=experts, sparse=True, gate=7)
    step.run()
    step.check()


@pytest.mark.parametrize("expert_type", TYPES)
def test_gated_step_matches_float64_reference(gpu, rng, expert_type):
    step = Step(rng, gpu, (4, 8, 64, 64), expert_type, sparse=True)
    step.run()
    z_s, z0 = step.on_device["z_s"].numpy(), step.on_device["z0"].numpy()
    c = step.scalars
    for tile in range(4):
        maps = contract_ops.bilinear(step.gates[tile].astype(np.float64), 64, 64)
        expected_z0 = sum(maps[i] * output.astype(np.float64) for i, output in step.active(tile))
        noise = contract_ops.normal(c["seed"], 2, step.origins[tile], (8, 64, 64))
        expected = c["c_z"] * step.z_t[tile] + c["c_0"] * expected_z0
        expected = expected + c["c_1"] * step.z0_prev[tile] + c["c_n"] * noise
        np.testing.assert_allclose(z0[tile], expected_z0, rtol=0, atol=5e-6)
        np.testing.assert_allclose(z_s[tile], expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("shape", [(3, 6, 16, 16), (3, 6, 5, 7)])
def test_gated_step_may_update_the_state_in_place(gpu, rng, shape):
    step = Step(rng, gpu, shape, "float16")
    step.on_device["z_s"], step.on_device["z0"] = step.on_device["z_t"], step.on_device["z0_prev"]
    step.run()
    step.check()


def test_gated_step_takes_memory_off_a_16_byte_boundary(gpu, rng):
    step = Step(rng, gpu, (2, 4, 8, 8), "float32")
    shifted = gpu.send(np.concatenate([np.zeros(1, np.float32), step.z_t.ravel()]))
    step.run(z_t=shifted.address + 4)
    step.check()


def test_the_first_step_reads_no_previous_prediction_and_no_origins(gpu, rng):
    step = Step(rng, gpu, (2, 4, 8, 8), "float32", noisy=False)
    step.run(z0_prev=0, origins=0, expert_z=[0, step.next[1].address, 0])
    step.next[0] = step.next[2] = gpu.send(rounded(step.on_device["z_s"].numpy(), "float32"))
    step.slots[:, [0, 2]] = np.arange(2)[:, None]
    z_s = step.on_device["z_s"].numpy()
    assert np.isfinite(z_s).all()
    assert_expert_rows(step.next, step.slots, z_s)


def test_a_captured_step_gives_the_same_bits_on_every_replay(gpu, rng):
    # A kernel's first launch loads its code, which a capture need not allow.
    Step(rng, gpu, (3, 4, 32, 32), "bfloat16", sparse=True).run()
    step = Step(rng, gpu, (3, 4, 32, 32), "bfloat16", sparse=True)
    replay = step.gpu.record(lambda stream: step.run(stream=stream))
    replay()
    replay()
    step.check()


@pytest.mark.parametrize("expert_type", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("from_noise", [False, True])
def test_start_latent_gives_the_bits_of_the_cpu(gpu, rng, shape, expert_type, from_noise):
    tiles = shape[0]
    z_low = rng.standard_normal(shape, dtype=np.float32)
    slots = random_slots(rng, tiles, 3, sparse=True)
    origins = rng.integers(0, 5000, (tiles, 3), dtype=np.int32)
    seed = int(rng.integers(1 << 63))
    low, z = gpu.send(z_low), gpu.poisoned(shape, np.float32)
    on_device = [gpu.send(origins), gpu.send(slots)]
    batches = [gpu.poisoned(shape, STORED[expert_type]) for _ in range(3)]
    _core.start_latent_cuda(
        shape=shape,
        z_low=0 if from_noise else low.address,
        signal=0.7,
        spread=0.6,
        seed=seed,
        origins=on_device[0].address,
        slots=on_device[1].address,
        experts=3,
        expert_type=expert_type,
        z=z.address,
        expert_z=[batch.address for batch in batches],
    )
    found = z.numpy()
    for tile, origin in enumerate(origins.tolist()):
        start = None if from_noise else z_low[tile]
        expected = _core.start_latent(start, shape[1:], 0.7, 0.6, seed, tuple(origin))
        assert_same_bits(found[tile], expected)
    assert_expert_rows(batches, slots, rounded(found, expert_type))


@pytest.mark.parametrize("expert_type", TYPES)
@pytest.mark.parametrize("row", [1, 37, 4096, 4 * 128 * 128])
def test_gather_rows_moves_each_tile_to_where_its_experts_read_it(gpu, rng, row, expert_type):
    tiles, experts = 7, 3
    source = rounded(rng.standard_normal((tiles, row), dtype=np.float32), expert_type)
    slots = random_slots(rng, tiles, experts, sparse=True)
    on_device = [gpu.send(source), gpu.send(slots)]
    to = [gpu.poisoned(source.shape, source.dtype) for _ in range(experts)]
    _core.gather_rows_cuda(
        tiles=tiles,
        row=row,
        expert_type=expert_type,
        source=on_device[0].address,
        slots=on_device[1].address,
        to=[batch.address for batch in to],
    )
    assert_expert_rows(to, slots, source)


def blended_on_cpu(images, places, total, weight):
    """The sums after each tile in turn, in float32, as the CPU op adds them."""
    total, weight = total.copy(), weight.copy()
    height, width = images.shape[1:]
    ny, nx = total.shape[1:]
    for image, (z, y, x, *ramps) in zip(images, places, strict=True):
        if z < 0:
            continue
        wy = contract_ops.ramp(height, *ramps[:2]).astype(np.float32)
        wx = contract_ops.ramp(width, *ramps[2:]).astype(np.float32)
        share = (wy[:, None] * wx)[: ny - y, : nx - x]
        at = (z, slice(y, y + height), slice(x, x + width))
        total[at] += share * image[: ny - y, : nx - x]
        weight[at] += share
    return total, weight


@pytest.mark.parametrize(("ny", "nx"), [(96, 128), (70, 95)])
@pytest.mark.parametrize("overlap", [0, 8])
def test_blend_adds_tiles_in_their_order(gpu, rng, ny, nx, overlap):
    height, width = 40, 48
    ends = {0: (0, overlap), 48: (overlap, 4), 80: (overlap, 4)}  # others have neighbours
    between = (overlap, overlap)
    grid = [
        (z, y, x, *ends.get(y, between), *ends.get(x, between))
        for z in (0, 2)
        for y in (0, 24, 48)
        for x in (0, 16, 40, 80)
    ]
    padding = (-1, *6 * [0])
    places = np.array([*grid[:12], padding, *grid[12:], padding], np.int32)
    images = rng.standard_normal((len(places), height, width), dtype=np.float32)
    before = rng.standard_normal((3, ny, nx), dtype=np.float32)
    volume = rng.standard_normal((3, ny, nx), dtype=np.float32)
    total, weight = gpu.send(before), gpu.send(np.zeros_like(before))
    on_device = [gpu.send(images), gpu.send(places), gpu.send(volume)]
    _core.blend_add_cuda(
        shape=images.shape,
        slice_shape=(ny, nx),
        images=on_device[0].address,
        places=on_device[1].address,
        sum=total.address,
        weight=weight.address,
    )
    expected, expected_weight = blended_on_cpu(images, places, before, np.zeros_like(before))
    assert_same_bits(total.numpy(), expected)
    assert_same_bits(weight.numpy(), expected_weight)
    out = gpu.poisoned(before.shape, np.float32)
    _core.blend_finish_cuda(
        sum=total.address,
        weight=weight.address,
        input=on_device[2].address,
        count=before.size,
        out=out.address,
    )
    rest = np.maximum(np.float32(0), 1 - expected_weight)
    assert_same_bits(
        out.numpy(), (expected + rest * volume) / np.maximum(np.float32(1), expected_weight)
    )


def test_a_batch_that_no_launch_can_hold_is_refused(gpu, rng):
    step = Step(rng, gpu, (1, 1, 1, 4), "float32")
    with pytest.raises(BackendError, match="gated_step: expected a CUDA launch, found"):
        step.run(shape=(1 << 20, 1, 1, 4))
    step.run()
    step.check()
