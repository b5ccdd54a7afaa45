"""The report's figures, as PNG; anatomy as radiologists look at it: right on the left, face up."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Volume = NDArray[np.float32]

DPI = 110
BACKGROUND = "#0d0f12"
INK = "#eceff3"
DIFFERENCES = "berlin"  # dark at zero
WEIGHTS = "viridis"
CLOSE_UP = 52  # voxels
ERROR_SHARE = 0.15  # of the gray window: the error maps' range


def nearest(low: Volume, shape: Sequence[int]) -> Volume:
    """A scan's voxels as they are, on a finer grid over the same box."""
    ratio = [n / m for n, m in zip(shape, low.shape, strict=True)]
    return ndimage.zoom(low, ratio, order=0, mode="nearest", grid_mode=True)


def cut(volume: NDArray[np.floating], plane: str, at: int) -> NDArray[np.floating]:
    """One plane of a volume (nx, ny, nz), as an image: rows from the top, columns from the left.

    ``plane`` is "axial" or "coronal", ``at`` the index along z or y.
    """
    lines = volume[:, :, at] if plane == "axial" else volume[:, at, :]
    return lines[::-1, ::-1].T


def richest_square(interest: NDArray[np.floating], edge: int) -> tuple[slice, slice]:
    """The square of an image that holds the most of what is of interest."""
    sizes = [min(edge, n) for n in interest.shape]
    place = np.argmax(ndimage.uniform_filter(interest, sizes, mode="constant"))
    centre = np.unravel_index(int(place), interest.shape)
    starts = [
        min(max(int(c) - size // 2, 0), n - size)
        for c, size, n in zip(centre, sizes, interest.shape, strict=True)
    ]
    rows, columns = (slice(s, s + size) for s, size in zip(starts, sizes, strict=True))
    return rows, columns


def over_anatomy(weights: Volume, picture: Volume, window: float) -> NDArray[np.floating]:
    """Weights from 0 to 1 in colour, as bright as the anatomy, (rows, columns, 4)."""
    colours = plt.get_cmap(WEIGHTS)(weights)
    colours[..., :3] *= (0.3 + 0.7 * np.clip(picture / window, 0, 1))[..., None]
    return colours


def draw_comparison(
    truth: Volume,
    scan: Volume,
    images: Mapping[str, Volume],
    interest: Volume,
    plane: str,
    at: int,
    window: float,
) -> bytes:
    """Truth, scan and results: the plane, a close-up, and the error against the truth.

    Parameters
    ----------
    truth : ndarray, float32, (nx, ny, nz)
    scan : ndarray, float32, (mx, my, mz), over the same box
    images : mapping of name to ndarray, float32, (nx, ny, nz)
    interest : ndarray, float32, (nx, ny, nz)
        The close-up shows where there is most of it.
    plane, at
        See `cut`.
    window : float
        Intensity shown white.
    """
    reference = cut(truth, plane, at)
    shown = {"truth": reference, "scan": cut(nearest(scan, truth.shape), plane, at)}
    shown |= {name: cut(volume, plane, at) for name, volume in images.items()}
    square = richest_square(cut(interest, plane, at), CLOSE_UP)
    figure, axes = _canvas(3, len(shown), reference.shape)
    limit = ERROR_SHARE * window
    for column, (name, image) in enumerate(shown.items()):
        axes[0, column].set_title(name, color=INK, fontsize=11)
        axes[0, column].imshow(image, cmap="gray", vmin=0, vmax=window)
        axes[1, column].imshow(image[square], cmap="gray", vmin=0, vmax=window)
        if column == 0:
            _outline(axes[0, 0], square)
        if name not in ("truth", "scan"):
            error = axes[2, column].imshow(
                image - reference, cmap=DIFFERENCES, vmin=-limit, vmax=limit
            )
    if images:
        _colour_bar(figure, error, axes[2, 1], "error against the truth")
    return _png(figure)


def draw_experts(
    mixture: Volume,
    alone: Volume,
    gates: Volume,
    regions: Volume,
    names: Sequence[str],
    window: float,
) -> bytes:
    """What each expert alone makes otherwise, its gate over the anatomy, and its region.

    Parameters
    ----------
    mixture : ndarray, float32, (nx, ny), one axial slice
    alone, gates, regions : ndarray, float32, (experts, nx, ny)
    names : sequence of str
    window : float
        Intensity shown white.
    """

    def upright(image: Volume) -> Volume:
        return image[::-1, ::-1].T

    picture = upright(mixture)
    figure, axes = _canvas(3, len(names) + 1, picture.shape)
    difference = alone - mixture
    limit = max(float(np.percentile(np.abs(difference), 99.5)), 1e-3 * window)
    axes[0, 0].set_title("mixture", color=INK, fontsize=11)
    axes[0, 0].imshow(picture, cmap="gray", vmin=0, vmax=window)
    for i, name in enumerate(names):
        axes[0, i + 1].set_title(name.replace("_", " "), color=INK, fontsize=11)
        changed = axes[0, i + 1].imshow(
            upright(difference[i]), cmap=DIFFERENCES, vmin=-limit, vmax=limit
        )
        for row, weights in ((1, gates[i]), (2, regions[i])):
            axes[row, i + 1].imshow(over_anatomy(upright(weights), picture, window))
    for row, label in ((1, "gate"), (2, "region")):
        axes[row, 0].text(
            0.95, 0.5, label, color=INK, fontsize=11, ha="right", transform=axes[row, 0].transAxes
        )
    _colour_bar(figure, plt.cm.ScalarMappable(cmap=WEIGHTS), axes[2, 0], "weight")
    _colour_bar(figure, changed, axes[1, 0], "this expert alone less the mixture")
    return _png(figure)


def draw_lesions(images: Mapping[str, Volume], centres: Sequence[Sequence[int]]) -> bytes:
    """A few lesions close up, one row each, in each image (nx, ny, nz)."""
    half = 14
    figure, axes = _canvas(len(centres), len(images), (2 * half, 2 * half), width=1.6)
    for row, (x, y, z) in enumerate(centres):
        for column, (name, volume) in enumerate(images.items()):
            part = volume[max(x - half, 0) : x + half, max(y - half, 0) : y + half, z : z + 1]
            if column == 0:
                low, high = np.percentile(part, (0.5, 99.5))
            axes[row, column].imshow(cut(part, "axial", 0), cmap="gray", vmin=low, vmax=high)
            if row == 0:
                axes[row, column].set_title(name, color=INK, fontsize=8)
    return _png(figure)


def _canvas(
    rows: int, columns: int, image: tuple[int, ...], width: float = 2.3
) -> tuple[Figure, NDArray[np.object_]]:
    height = width * image[0] / image[1]
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * width, rows * height + 0.35),
        squeeze=False,
        facecolor=BACKGROUND,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def _outline(axis: Axes, square: tuple[slice, slice]) -> None:
    rows, columns = square
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axis.add_patch(plt.Rectangle(corner, *size, fill=False, edgecolor="#ffb03b", linewidth=1))


def _colour_bar(figure: Figure, image: object, axis: Axes, label: str) -> None:
    """A colour bar in the middle of an empty panel."""
    inset = axis.inset_axes((0.05, 0.3, 0.9, 0.06))
    bar = figure.colorbar(image, cax=inset, orientation="horizontal")
    bar.set_label(label, color=INK, fontsize=8)
    bar.ax.tick_params(colors=INK, labelsize=7)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor())
    plt.close(figure)
    return stream.getvalue()
