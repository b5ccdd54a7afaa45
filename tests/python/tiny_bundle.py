"""A bundle small enough to make in a test: tiles of 16 to 32, latent 2 x 8 x 8, three experts."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TILE, LATENT, CHANNELS, CONDITION, EXPERTS, GATE, DIM = 32, 8, 2, 3, 3, 4, 4
SMALLEST, PITCH = 16, 8


def _value(name, *dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))


def _save(path, nodes, inputs, outputs, weights):
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "module", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _weight(rng, *shape):
    fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
    return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def _encoder(path, rng):
    _save(
        path,
        [helper.make_node("Conv", ["image", "w"], ["z"], strides=[4, 4])],
        [_value("image", "N", 3, "H", "W")],
        [_value("z", "N", CHANNELS, "h", "w")],
        {"w": _weight(rng, CHANNELS, 3, 4, 4)},
    )


def _conditioner(path, rng, slices):
    _save(
        path,
        [
            helper.make_node("Conv", ["slices", "wc"], ["seen"], strides=[4, 4]),
            helper.make_node("Conv", ["z_low", "wl"], ["low"]),
            helper.make_node("Add", ["seen", "low"], ["c"]),
            helper.make_node("Tanh", ["c"], ["seen_c"]),
            helper.make_node("Transpose", ["seen_c"], ["z_c"], perm=[0, 2, 3, 1]),
            helper.make_node("Conv", ["slices", "wt"], ["grid"], strides=[8, 8]),
            helper.make_node("Transpose", ["grid"], ["tokens"], perm=[0, 2, 3, 1]),
        ],
        [_value("slices", "N", slices, "H", "W"), _value("z_low", "N", CHANNELS, "h", "w")],
        [_value("z_c", "N", "h", "w", CONDITION), _value("tokens", "N", "gh", "gw", DIM)],
        {
            "wc": _weight(rng, CONDITION, slices, 4, 4),
            "wl": _weight(rng, CONDITION, CHANNELS, 1, 1),
            "wt": 4 * _weight(rng, DIM, slices, 8, 8),
        },
    )


def _gate(path, rng, sharpness):
    _save(
        path,
        [
            helper.make_node("MatMul", ["tokens", "w"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["soft"], axis=-1),
            helper.make_node("Transpose", ["soft"], ["gates"], perm=[0, 3, 1, 2]),
        ],
        [_value("tokens", "N", "gh", "gw", DIM)],
        [_value("gates", "N", EXPERTS, "gh", "gw")],
        {"w": sharpness * _weight(rng, DIM, EXPERTS)},
    )


def _expert(path, rng, layers):
    nodes = [
        helper.make_node("Transpose", ["z_c"], ["c"], perm=[0, 3, 1, 2]),
        helper.make_node("Concat", ["z_t", "c"], ["x0"], axis=1),
        helper.make_node("Conv", ["x0", "w"], ["x1"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["t", "scale"], ["t1"]),
        helper.make_node("Unsqueeze", ["t1", "axes"], ["t2"]),
        helper.make_node("Add", ["x1", "t2"], ["x2"]),
        helper.make_node("Tanh", ["x2"], ["h0"]),
    ]
    weights = {
        "w": _weight(rng, CHANNELS, CHANNELS + CONDITION, 3, 3),
        "scale": np.array(0.001, np.float32),
        "axes": np.array([1, 2, 3], np.int64),
        "again": _weight(rng, CHANNELS, CHANNELS, 3, 3),
    }
    for i in range(layers):
        nodes.append(helper.make_node("Conv", [f"h{i}", "again"], [f"y{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Tanh", [f"y{i}"], [f"h{i + 1}"]))
    nodes.append(helper.make_node("Identity", [f"h{layers}"], ["z0"]))
    _save(
        path,
        nodes,
        [
            _value("z_t", "N", CHANNELS, "h", "w"),
            _value("z_c", "N", "h", "w", CONDITION),
            _value("t", "N"),
        ],
        [_value("z0", "N", CHANNELS, "h", "w")],
        weights,
    )


def _decoder(path, rng, slices):
    beside = np.full(slices, 0.2 / max(slices - 1, 1), np.float32)
    beside[slices // 2] = 0.8
    _save(
        path,
        [
            helper.make_node("ConvTranspose", ["z0", "wz"], ["detail"], strides=[4, 4]),
            helper.make_node("Conv", ["slices", "ws"], ["base"]),
            helper.make_node("Add", ["detail", "base"], ["image"]),
        ],
        [_value("z0", "N", CHANNELS, "h", "w"), _value("slices", "N", slices, "H", "W")],
        [_value("image", "N", 1, "H", "W")],
        {
            "wz": _weight(rng, CHANNELS, 1, 4, 4),
            "ws": beside.reshape(1, slices, 1, 1),
        },
    )


def card(folder, slices=3):
    """Everything that bundle.json says about the modules in ``folder``."""
    steps = 100
    alphas = np.cumprod(1 - np.linspace(1e-3, 0.05, steps)).tolist()
    modules = {}
    for name in ["encoder", "conditioner", "gate", *(f"expert_{i}" for i in range(3)), "decoder"]:
        data = (folder / f"{name}.onnx").read_bytes()
        modules[name] = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        }
    return {
        "format": "moediff-bundle",
        "format_version": 3,
        "name": "tiny",
        "description": "made by a test",
        "license": "Apache-2.0",
        "created": "2026-01-01T00:00:00Z",
        "producer": "tests",
        "tile": {
            "height": TILE,
            "width": TILE,
            "slices": slices,
            "smallest": {"height": SMALLEST, "width": SMALLEST},
            "pitch": {"height": PITCH, "width": PITCH},
        },
        "latent": {"channels": CHANNELS, "height": LATENT, "width": LATENT},
        "condition": {"channels": CONDITION},
        "gate": {"experts": EXPERTS, "height": GATE, "width": GATE, "names": ["a", "b", "c"]},
        "schedule": {"prediction": "x0", "alphas_cumprod": alphas},
        "sampler": {
            "method": "dpmpp_2m",
            "steps": 2,
            "start": "low_field",
            "start_timestep": 40,
            "eta": 0.0,
        },
        "intensity": {"percentile": 99.5, "value": 1.0},
        "dispatch": {"gate_threshold": 0.05, "tile_overlap": 8},
        "spacing_mm": {
            "output_min": 0.5,
            "output_max": 1.25,
            "input_min": 0.5,
            "input_max": 5.0,
        },
        "modules": modules,
        "training": {},
        "metrics": {},
    }


def write_card(folder, content):
    """Write ``content`` as the bundle's card."""
    (folder / "bundle.json").write_text(json.dumps(content))


def make_bundle(folder, seed=0, sharpness=1.0, expert_layers=0, slices=3):
    """Write a whole bundle into ``folder`` and return its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    _encoder(folder / "encoder.onnx", rng)
    _conditioner(folder / "conditioner.onnx", rng, slices)
    _gate(folder / "gate.onnx", rng, sharpness)
    for i in range(EXPERTS):
        _expert(folder / f"expert_{i}.onnx", rng, expert_layers)
    _decoder(folder / "decoder.onnx", rng, slices)
    write_card(folder, card(folder, slices))
    return folder
