"""The ops in plain NumPy and float64: the oracle of the C++ and CUDA ops."""

import numpy as np


def philox(counter, key):
    """Philox4x32-10 over arrays of counters (..., 4) and a key (2,)."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k = [np.uint64(key[0]), np.uint64(key[1])]
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ k[0],
            p1 & mask,
            (p0 >> np.uint64(32)) ^ c[3] ^ k[1],
            p0 & mask,
        ]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return np.stack(c, -1)


def normal(seed, noise_index, origin, shape):
    """Noise of one tile in float64."""
    c, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    counter = np.stack(
        [origin[0] + x, origin[1] + y, np.full_like(x, origin[2]), noise_index * 65536 + c // 4], -1
    )
    r = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    u = ((r >> np.uint64(8)).astype(np.float64) + 0.5) * 2.0**-24
    pair = np.where((c % 4) < 2, 0, 2)[..., None]
    u_a = np.take_along_axis(u, pair, -1)[..., 0]
    u_b = np.take_along_axis(u, pair + 1, -1)[..., 0]
    turn = 2 * np.pi * u_b
    return np.sqrt(-2 * np.log(u_a)) * np.where(c % 2 == 0, np.cos(turn), np.sin(turn))


def bilinear(gates, height, width):
    """Half-pixel bilinear resize of (E, gh, gw) with clamped edges."""

    def weights(size, count):
        at = np.maximum((np.arange(size) + 0.5) * count / size - 0.5, 0)
        low = np.minimum(np.floor(at).astype(int), count - 1)
        matrix = np.zeros((size, count))
        np.add.at(matrix, (np.arange(size), low), 1 - (at - low))
        np.add.at(matrix, (np.arange(size), np.minimum(low + 1, count - 1)), at - low)
        return matrix

    return np.einsum(
        "yi,xj,eij->eyx", weights(height, gates.shape[1]), weights(width, gates.shape[2]), gates
    )


def ramp(tile, low, high):
    """Blend weights along one axis: they rise over `low` voxels and fall over `high`."""
    i = np.arange(tile)
    w = np.ones(tile)
    if low:
        w = np.minimum(w, (i + 0.5) / low)
    if high:
        w = np.minimum(w, (tile - i - 0.5) / high)
    return w
