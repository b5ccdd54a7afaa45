"""What the figures were taken on, and what it could do at most, measured in the same run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import best_seconds

PACKAGES = ("moediff-rt", "openvino", "onnxruntime", "torch", "numpy", "isal")
MATRIX, SMALL_MATRIX = 2048, 256
SLOW_FLOPS = 5e9  # a second
COPIED_BYTES = 1 << 29  # beyond any cache


def threads() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """Processor, threads, memory and versions; nothing that names the computer."""
    return {
        "processor": processor(),
        "threads": threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Its name, as it calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def version(package: str) -> str:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def peak_flops(kind: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, all threads.

    Of a small one where that is slow: a type that the processor does not know takes minutes.
    """
    small = product_flops(kind, SMALL_MATRIX)
    return small if small < SLOW_FLOPS else product_flops(kind, MATRIX)


def product_flops(kind: torch.dtype, size: int) -> float:
    """Floating-point operations a second of a matrix product of this size."""
    a, b = (torch.randn(size, size).to(kind) for _ in range(2))
    return 2.0 * size**3 / best_seconds(lambda: a @ b)


def copy_rate(byte_count: int = COPIED_BYTES) -> float:
    """Bytes a second of a copy on one thread, read and written counted."""
    source = np.ones(byte_count // 8, np.float32)
    target = np.zeros_like(source)
    return (source.nbytes + target.nbytes) / best_seconds(lambda: np.copyto(target, source))
