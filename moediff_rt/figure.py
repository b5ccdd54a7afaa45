"""A before and after picture: three planes and a close-up, as a viewer would show the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .foreground import find_foreground
from .grid import AxisOrder, voxel_sizes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

PIXELS_PER_MM = 2.0
CLOSE_UP_MM = 44.0
MARGIN_MM = 4.0
GAP = 14
BACKGROUND = (13, 15, 18)
TITLE = (236, 239, 243)
FAINT = (140, 148, 160)
ACCENT = (255, 176, 59)

Span = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """A volume in RAS+ order with its voxel edges, mm."""

    data: npt.NDArray[Any]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, data: npt.NDArray[Any], affine: npt.ArrayLike) -> Picture:
        """Of a volume in a file's own axes."""
        axes = AxisOrder.nearest_ras(affine)
        x, y, z = axes.spacing_to_ras(voxel_sizes(affine).tolist())
        return cls(axes.to_ras(data), (x, y, z))


@dataclass(frozen=True)
class Plane:
    """One panel: which part of the box it shows, in shares of the box from 0 to 1.

    Columns and rows run towards falling coordinates: right is on the left (radiological), the
    face looks left, the top of the head is up.
    """

    name: str
    across: int
    up: int
    through: int
    at: float
    columns: Span
    rows: Span
    letters: str
    width: int
    height: int

    def gray(self, picture: Picture, window: float) -> npt.NDArray[np.uint8]:
        """Return the pixels (height, width); each shows the voxel it falls in."""
        index: list[Any] = [0, 0, 0]
        shape = picture.data.shape
        index[self.through] = min(int(self.at * shape[self.through]), shape[self.through] - 1)
        index[self.across] = _voxels(self.columns, self.width, shape[self.across])
        index[self.up] = _voxels(self.rows, self.height, shape[self.up])
        # The plane's axes come out in rising order.
        first, second = sorted((self.across, self.up))
        lines = picture.data[
            tuple(slice(None) if axis in (first, second) else index[axis] for axis in range(3))
        ]
        values = lines[np.ix_(index[first], index[second])]
        values = values if self.up == first else values.T
        return np.asarray(np.clip(values / window, 0, 1) * 255, dtype=np.uint8)


def draw_before_after(before: Picture, after: Picture) -> Image:
    """Draw two volumes over the same box, one row each, in the same gray window.

    Parameters
    ----------
    before, after : Picture

    Returns
    -------
    PIL image, RGB
    """
    from PIL import Image, ImageDraw

    volume = np.ascontiguousarray(before.data.T, dtype=np.float32)
    foreground = find_foreground(volume, before.spacing[::-1])
    window = float(np.percentile(volume[foreground.voxels()], 99.5))
    planes = _planes(before, foreground.voxels().T)
    planes.append(_close_up(after, planes[0], height=max(plane.height for plane in planes)))

    cell = max(plane.height for plane in planes)
    title, column_title, footer = 34, 26, 30
    width = sum(plane.width for plane in planes) + GAP * (len(planes) + 1)
    height = column_title + 2 * (title + cell) + GAP + footer
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    left = GAP
    for plane in planes:
        name = f"{plane.name}, {CLOSE_UP_MM:g} mm" if plane is planes[-1] else plane.name
        _text(pen, (left + plane.width / 2, 16), name, 14, FAINT, "mm")
        left += plane.width + GAP
    rows = (("input", before), ("moediff-rt", after))
    for row, (label, picture) in enumerate(rows):
        top = column_title + row * (title + cell + GAP // 2)
        sizes = " x ".join(f"{size:.3g}" for size in picture.spacing)
        _text(pen, (GAP, top + title / 2), label, 18, TITLE, "lm")
        offset = pen.textlength(label, font=_font(18)) + GAP + 12
        _text(pen, (offset, top + title / 2 + 1), f"{sizes} mm", 14, FAINT, "lm")
        left = GAP
        for plane in planes:
            corner = (left, top + title + (cell - plane.height) // 2)
            canvas.paste(Image.fromarray(plane.gray(picture, window)), corner)
            _letters(pen, plane, corner)
            left += plane.width + GAP
        _frame(pen, planes[0], planes[-1], (GAP, top + title + (cell - planes[0].height) // 2))
        close = planes[-1]
        corner = (width - GAP - close.width, top + title + (cell - close.height) // 2)
        pen.rectangle(
            (*corner, corner[0] + close.width - 1, corner[1] + close.height - 1), outline=ACCENT
        )
    note = "Every voxel as it is, same gray window. Research software, not a medical device."
    _text(pen, (GAP, height - footer / 2), note, 12, FAINT, "lm")
    return canvas


def _voxels(span: Span, pixels: int, voxels: int) -> npt.NDArray[np.int_]:
    """Find the voxel each pixel centre falls in, from the span's high end to its low end."""
    low, high = span
    position = high - (np.arange(pixels) + 0.5) / pixels * (high - low)
    return np.asarray(np.clip((position * voxels).astype(int), 0, voxels - 1))


def _planes(picture: Picture, mask: npt.NDArray[np.bool_]) -> list[Plane]:
    box = [n * size for n, size in zip(picture.data.shape, picture.spacing, strict=True)]
    spans, middle = [], []
    for axis in range(3):
        profile = mask.any(axis=tuple(other for other in range(3) if other != axis))
        hit = np.flatnonzero(profile) if profile.any() else np.arange(mask.shape[axis])
        margin = MARGIN_MM / box[axis]
        low = max(0.0, hit[0] / mask.shape[axis] - margin)
        high = min(1.0, (hit[-1] + 1) / mask.shape[axis] + margin)
        spans.append((low, high))
        middle.append((low + high) / 2)
    # A little off the midline, where the sagittal plane shows grey matter and not the falx.
    at = (middle[0] + 12 / box[0], middle[1] - 8 / box[1], middle[2] + 6 / box[2])

    def plane(name: str, across: int, up: int, through: int, letters: str) -> Plane:
        def pixels(axis: int) -> int:
            low, high = spans[axis]
            return max(1, round(float((high - low) * box[axis]) * PIXELS_PER_MM))

        share = min(max(at[through], 0.0), 1.0)
        return Plane(
            name,
            across,
            up,
            through,
            share,
            spans[across],
            spans[up],
            letters,
            pixels(across),
            pixels(up),
        )

    return [
        plane("axial", 0, 1, 2, "RLAP"),
        plane("coronal", 0, 2, 1, "RLSI"),
        plane("sagittal", 1, 2, 0, "APSI"),
    ]


def _close_up(picture: Picture, axial: Plane, height: int) -> Plane:
    """Find the square of the axial plane with the most edges in it."""
    from scipy import ndimage

    lines = picture.data[
        :, :, min(int(axial.at * picture.data.shape[2]), picture.data.shape[2] - 1)
    ].astype(np.float32)
    edges = np.hypot(*np.gradient(lines))
    sizes = [
        max(3, min(n, round(CLOSE_UP_MM / size)))
        for n, size in zip(lines.shape, picture.spacing[:2], strict=True)
    ]
    # The rim of the head is an edge too, but not what the close-up is for.
    inner = edges * (ndimage.minimum_filter(lines > 0.2 * lines.max(), size=5))
    score = ndimage.uniform_filter(inner, size=sizes, mode="constant")
    half = [size // 2 for size in sizes]
    centre = np.unravel_index(int(np.argmax(score)), score.shape)
    spans = []
    for axis in range(2):
        n = lines.shape[axis]
        low = min(max(int(centre[axis]) - half[axis], 0), n - sizes[axis])
        spans.append((low / n, (low + sizes[axis]) / n))
    return Plane("close-up", 0, 1, 2, axial.at, spans[0], spans[1], "", height, height)


def _frame(pen: ImageDraw, plane: Plane, close: Plane, corner: tuple[int, int]) -> None:
    """Outline on the axial panel of what the close-up shows."""

    def pixel(value: float, span: Span, pixels: int) -> float:
        return (span[1] - value) / (span[1] - span[0]) * pixels

    xs = [corner[0] + pixel(v, plane.columns, plane.width) for v in close.columns[::-1]]
    ys = [corner[1] + pixel(v, plane.rows, plane.height) for v in close.rows[::-1]]
    pen.rectangle((xs[0], ys[0], xs[1], ys[1]), outline=ACCENT)


def _letters(pen: ImageDraw, plane: Plane, corner: tuple[int, int]) -> None:
    x, y = corner
    places = (
        (x + 10, y + plane.height / 2),
        (x + plane.width - 10, y + plane.height / 2),
        (x + plane.width / 2, y + 11),
        (x + plane.width / 2, y + plane.height - 11),
    )
    for letter, place in zip(plane.letters, places, strict=False):
        _text(pen, place, letter, 14, ACCENT, "mm")


def _text(
    pen: ImageDraw,
    place: Sequence[float],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    anchor: str,
) -> None:
    pen.text((place[0], place[1]), text, fill=colour, font=_font(size), anchor=anchor)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
