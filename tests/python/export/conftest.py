from pathlib import Path

import numpy as np
import pytest
from export_fixtures import card, random_model
from moediff_export.bundle import write_bundle
from moediff_export.config import TINY
from moediff_export.data.shards import Pair
from moediff_export.data.sources import Source, make_source
from scipy import ndimage


@pytest.fixture(scope="session")
def tiny_model():
    return random_model(TINY)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(tiny_model, folder, card())
    return folder


@pytest.fixture(scope="session")
def phantom() -> Source:
    """Folded, smooth blobs at 0.5 mm: something with edges in every direction."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal((120, 240, 240)), 6)
    data = (1 / (1 + np.exp(-40 * field))).astype(np.float32)
    return make_source("phantom", data, 0.5, 1.0, finest=0.5)


@pytest.fixture(scope="session")
def pairs():
    """Smooth blobs and their blurred copies, with regions."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(2):
        target = ndimage.gaussian_filter(rng.standard_normal((8, 96, 96)), 1.5)
        target = 1 / (1 + np.exp(-40 * target))
        low = ndimage.gaussian_filter(target, 1.0) + 0.01 * rng.standard_normal(target.shape)
        regions = np.stack([target > 0.9, target < 0.1, abs(target - 0.5) < 0.4]) * 255
        flat = np.zeros(target.shape, np.float16)
        made.append(
            Pair(
                target.astype(np.float16), low.astype(np.float16), flat, flat, regions.astype("u1")
            )
        )
    return made
