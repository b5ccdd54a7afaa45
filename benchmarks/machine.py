"""What the figures were taken on, and what it could do at most, measured in the same run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import best_seconds
from moediff_export.evaluation.provenance import modules_sha256

from moediff_rt.cache import default_bundle

PACKAGES = ("moediff-rt", "openvino", "onnxruntime", "torch", "numpy", "isal")
MATRIX, SMALL_MATRIX = 2048, 256
CHANNELS, EDGE = 256, 128
SLOW_FLOPS = 5e9  # a second
COPIED_BYTES = 1 << 29  # beyond any cache


def threads() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """Day, commit, bundle, processor, threads, memory, versions; nothing that names the computer.

    The bundle by the SHA-256 that ``sha256sum *.onnx | sha256sum`` gives in its folder.
    """
    return {
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "bundle_modules_sha256": modules_sha256(default_bundle()),
        "processor": processor(),
        "threads": threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Of the checkout that this file is in, with "+" where tracked files are changed."""
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return "unknown"
    return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*words: str) -> str:
    git = ("git", "-C", str(Path(__file__).parent), *words)
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


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
    """Floating-point operations a second, all threads: of a large matrix product or a convolution.

    The faster of the two, as libraries differ in both. Of a small product where that is slow: a
    type that the processor does not know takes minutes.
    """
    small = product_flops(kind, SMALL_MATRIX)
    if small < SLOW_FLOPS:
        return small
    return max(product_flops(kind, MATRIX), convolution_flops(kind))


def product_flops(kind: torch.dtype, size: int) -> float:
    """Floating-point operations a second of a matrix product of this size."""
    a, b = (torch.randn(size, size).to(kind) for _ in range(2))
    return 2.0 * size**3 / best_seconds(lambda: a @ b)


def convolution_flops(kind: torch.dtype) -> float:
    """Floating-point operations a second of 3 x 3 filters from many channels to as many."""
    image = torch.randn(1, CHANNELS, EDGE, EDGE).to(kind, memory_format=torch.channels_last)
    filters = torch.randn(CHANNELS, CHANNELS, 3, 3).to(kind, memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = best_seconds(lambda: torch.conv2d(image, filters, padding=1))
    return 2.0 * 9 * CHANNELS**2 * EDGE**2 / seconds


def copy_rate(byte_count: int = COPIED_BYTES) -> float:
    """Bytes a second of a copy on one thread, read and written counted."""
    source = np.ones(byte_count // 8, np.float32)
    target = np.zeros_like(source)
    return (source.nbytes + target.nbytes) / best_seconds(lambda: np.copyto(target, source))
