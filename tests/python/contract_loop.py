"""The whole-volume loop in plain NumPy and ONNX Runtime: the oracle of the C++ scheduler."""

import json

import numpy as np
import onnxruntime
from contract_ops import bilinear, normal, ramp


def timesteps(steps, start):
    """tau_k, rounded half up."""
    return [int(np.floor(start * (steps - k) / steps + 0.5)) for k in range(steps)]


def coefficients(method, alphas, steps, start, eta):
    """(c_z, c_0, c_1, c_n) of each step, from the definitions."""
    taus = timesteps(steps, start)
    rows, h_prev = [], None
    for k in range(steps):
        ab_t = alphas[taus[k]]
        ab_s = alphas[taus[k + 1]] if k + 1 < steps else 1.0
        if method == "ddim":
            sigma = eta * np.sqrt((1 - ab_s) / (1 - ab_t)) * np.sqrt(1 - ab_t / ab_s)
            c_z = np.sqrt(max(1 - ab_s - sigma**2, 0) / (1 - ab_t))
            rows.append((c_z, np.sqrt(ab_s) - c_z * np.sqrt(ab_t), 0.0, sigma))
            continue
        if ab_s == 1:
            rows.append((0.0, 1.0, 0.0, 0.0))
            continue
        lam = [np.log(np.sqrt(ab) / np.sqrt(1 - ab)) for ab in (ab_t, ab_s)]
        h = lam[1] - lam[0]
        phi = np.sqrt(ab_s) * (1 - np.exp(-h))
        c_z = np.sqrt(1 - ab_s) / np.sqrt(1 - ab_t)
        if h_prev is None:
            rows.append((c_z, phi, 0.0, 0.0))
        else:
            r = h_prev / h
            rows.append((c_z, phi * (1 + 1 / (2 * r)), -phi / (2 * r), 0.0))
        h_prev = h
    return np.array(rows)


def tile_starts(n, lo, hi, tile, overlap, align):
    """Starts along one axis."""
    most = 0 if n <= tile else align * -(-(n - tile) // align)
    first = align * (lo // align)
    if hi - first <= tile:
        start = align * (max(0, (lo + hi) // 2 - tile // 2) // align)
        start = min(max(start, 0), most)
        return [start if start <= lo and hi <= start + tile else min(first, most)]
    last = min(most, align * -(-(hi - tile) // align))
    count = -(-(hi - first - overlap) // (tile - overlap))
    while True:
        cells = (last - first) // align
        starts = [first + align * (i * cells // (count - 1)) for i in range(count)]
        if max(np.diff(starts)) <= tile - overlap:
            return starts
        count += 1


EDGE, SEAM = 4, 2048
MOST_SIZES, SAVED = 2, 16


def fit_tiles(shape, boxes, smallest, largest, pitch, overlap, align):
    """Each slice's (height, width), and the pixels that each size takes of each slice."""
    costs = {}
    for height in range(smallest[0], largest[0] + 1, pitch[0]):
        for width in range(smallest[1], largest[1] + 1, pitch[1]):
            sizes = [(height, width)] * len(boxes)
            counts = [0] * len(boxes)
            for z, _, _ in list_tiles(shape, boxes, sizes, overlap, align):
                counts[z] += 1
            costs[height, width] = [count * (height * width + SEAM) for count in counts]
    first = min(costs, key=lambda size: sum(costs[size]))
    if sum(costs[first]) == 0:
        first = tuple(largest)
    fitted = [first] * len(boxes)
    for _ in range(MOST_SIZES - 1):
        better = {
            size: [min(cost[z], costs[now][z]) for z, now in enumerate(fitted)]
            for size, cost in costs.items()
        }
        other = min(better, key=lambda size: sum(better[size]))
        spent = sum(costs[now][z] for z, now in enumerate(fitted))
        if spent - sum(better[other]) < SAVED * largest[0] * largest[1]:
            break
        fitted = [other if costs[other][z] < costs[now][z] else now for z, now in enumerate(fitted)]
    return fitted, costs


def list_tiles(shape, boxes, sizes, overlap, align):
    """(z, y, x) starts in order, each slice's over its own box, of its own size."""
    _, ny, nx = shape
    return [
        (z, y, x)
        for z, (y0, y1, x0, x1) in enumerate(np.asarray(boxes).tolist())
        if y0 < y1 and x0 < x1
        for y in tile_starts(ny, y0, y1, sizes[z][0], overlap, align[0])
        for x in tile_starts(nx, x0, x1, sizes[z][1], overlap, align[1])
    ]


def mirrored(line, n):
    """Indices of a line of n samples that goes back at its ends, each end seen twice."""
    there_and_back = [*range(n), *reversed(range(n))]
    return [there_and_back[i % (2 * n)] for i in line]


def ends(start, starts, n, tile, overlap):
    """Ramps of a tile along an axis."""
    low = overlap if start > min(starts) else EDGE * (start > 0)
    high = overlap if start < max(starts) else EDGE * (start + tile < n)
    return low, high


class ContractLoop:
    """Runs a bundle folder over volumes."""

    def __init__(self, folder):
        self.card = json.loads((folder / "bundle.json").read_text())
        self.sessions = {
            name: onnxruntime.InferenceSession(
                folder / module["file"], providers=["CPUExecutionProvider"]
            )
            for name, module in self.card["modules"].items()
        }

    def module(self, name, **inputs):
        """Outputs of a module for one tile, batch axis removed."""
        feed = {key: np.asarray(value, np.float32)[None] for key, value in inputs.items()}
        return [out[0] for out in self.sessions[name].run(None, feed)]

    def placing(self):
        """Overlap of tiles, and pixels per latent cell."""
        tile, latent = self.card["tile"], self.card["latent"]
        align = [tile[axis] // latent[axis] for axis in ("height", "width")]
        return self.card["dispatch"]["tile_overlap"], align

    def sizes(self, shape, boxes):
        """(height, width) of each slice's tiles."""
        tile = self.card["tile"]
        sizes = [(t["height"], t["width"]) for t in (tile["smallest"], tile, tile["pitch"])]
        return fit_tiles(shape, boxes, *sizes, *self.placing())[0]

    def enhance_tile(self, volume, at, size, settings):
        """The enhanced tile, its applied gates, and how many experts ran."""
        card, (z, y, x) = self.card, at
        rows, columns = range(y, y + size[0]), range(x, x + size[1])
        half = card["tile"]["slices"] // 2
        seen = (range(z - half, z + half + 1), rows, columns)
        lines = (mirrored(line, n) for line, n in zip(seen, volume.shape, strict=True))
        slices = volume[np.ix_(*lines)]
        middle, zeros = slices[half], np.zeros_like(slices[half])
        (z_low,) = self.module("encoder", image=np.stack([middle, zeros, zeros]))
        z_c, tokens = self.module("conditioner", slices=slices, z_low=z_low)
        (gates,) = self.module("gate", tokens=tokens)
        active = gates.max(axis=(1, 2)) >= settings["gate_threshold"]
        gates = np.where(active[:, None, None], gates, 0)
        gates = gates / gates.sum(0)

        align = self.placing()[1]
        c, h, w = card["latent"]["channels"], size[0] // align[0], size[1] // align[1]
        origin = (x // align[1], y // align[0], z)
        alphas = card["schedule"]["alphas_cumprod"]
        taus = timesteps(settings["steps"], settings["start_timestep"])
        noise = normal(settings["seed"], 0, origin, (c, h, w))
        latent = noise
        if settings["start"] == "low_field":
            ab = alphas[taus[0]]
            latent = np.sqrt(ab) * z_low + np.sqrt(1 - ab) * noise
        maps = bilinear(gates, h, w)
        rows_of = coefficients(
            settings["method"],
            alphas,
            settings["steps"],
            settings["start_timestep"],
            card["sampler"]["eta"],
        )
        z0_prev = np.zeros_like(latent)
        for k, (c_z, c_0, c_1, c_n) in enumerate(rows_of):
            z0 = sum(
                maps[i] * self.module(f"expert_{i}", z_t=latent, z_c=z_c, t=np.float32(taus[k]))[0]
                for i in np.flatnonzero(active)
            )
            n = normal(settings["seed"], k + 1, origin, (c, h, w))
            latent = c_z * latent + c_0 * z0 + c_1 * z0_prev + c_n * n
            z0_prev = z0
        (image,) = self.module("decoder", z0=z0_prev, slices=slices)
        return image[0], gates, int(active.sum())

    def enhance(self, volume, boxes, **changes):
        """(volume, gates, expert calls) of the whole loop in float64 outside the modules."""
        card = self.card
        settings = {**card["sampler"], **card["dispatch"], "seed": 0, **changes}
        if settings["start"] == "noise":
            settings["start_timestep"] = len(card["schedule"]["alphas_cumprod"]) - 1
        experts = card["gate"]["experts"]
        total = np.zeros(volume.shape)
        weight = np.zeros(volume.shape)
        gate_total = np.zeros((experts, *volume.shape))
        calls = 0
        sizes = self.sizes(volume.shape, boxes)
        overlap, align = self.placing()
        tiles = list_tiles(volume.shape, boxes, sizes, overlap, align)
        for z, y, x in tiles:
            size = sizes[z]
            image, gates, active = self.enhance_tile(volume, (z, y, x), size, settings)
            calls += active * settings["steps"]
            ys, xs = ({at[axis] for at in tiles if at[0] == z} for axis in (1, 2))
            w = np.outer(
                ramp(size[0], *ends(y, ys, volume.shape[1], size[0], overlap)),
                ramp(size[1], *ends(x, xs, volume.shape[2], size[1], overlap)),
            )
            ny, nx = min(size[0], volume.shape[1] - y), min(size[1], volume.shape[2] - x)
            place = (z, slice(y, y + ny), slice(x, x + nx))
            total[place] += (w * image)[:ny, :nx]
            weight[place] += w[:ny, :nx]
            gate_total[(slice(None), *place)] += (w * bilinear(gates, *size))[:, :ny, :nx]
        out = (total + np.maximum(0, 1 - weight) * volume) / np.maximum(1, weight)
        safe = np.where(weight > 0, weight, 1)
        return out, np.where(weight > 0, gate_total / safe, 0), calls
