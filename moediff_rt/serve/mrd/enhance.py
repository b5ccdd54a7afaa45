"""One volume from MRD images to enhanced MRD images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ...acquisition import acquisition_of
from ...errors import InputError
from ...grid import AxisOrder, Grid
from ...provenance import NOTICE
from ...session import Session
from ...spacing import choose_output_shape
from .geometry import box_of, row_and_column, stack_grid, volume_grid
from .images import MrdImage, values_of
from .structures import ImageHeader, Meta

if TYPE_CHECKING:
    from ..._core import Bundle

# Who the original is in DICOM: no other image may say so.
_IDENTITY = ("DicomJson", "SOPInstanceUID", "SeriesInstanceUID")
# Header flags that mark the first or last image of something: 5, 7, ... and 6, 8, ... (one-based).
_FIRST_FLAGS = sum(1 << (bit - 1) for bit in range(5, 17, 2))
_LAST_FLAGS = sum(1 << (bit - 1) for bit in range(6, 17, 2))


@dataclass(frozen=True)
class Volume:
    """Images that make one volume, and where it is.

    Attributes
    ----------
    images : sequence of MrdImage
        One 3-D image, or slices in the order of the grid's last axis.
    grid : Grid
    """

    images: Sequence[MrdImage]
    grid: Grid

    @classmethod
    def of(cls, images: Sequence[MrdImage]) -> Volume:
        """Sort images and find their grid.

        Raises
        ------
        InputError
            They make no volume.
        """
        if images[0].shape[1] > 1:
            return cls(images, volume_grid(images[0]))
        return cls(*stack_grid(images))

    @property
    def is_deep(self) -> bool:
        """One 3-D image."""
        return self.images[0].shape[1] > 1

    @property
    def slice_thickness(self) -> float | None:
        """Of single slices, mm, 0 where it is not said; not known of a 3-D image's."""
        return None if self.is_deep else float(self.images[0].head.field_of_view[2])

    @property
    def data(self) -> npt.NDArray[Any]:
        """The voxels, (x, y, z)."""
        return np.asarray(np.concatenate([image.values[0] for image in self.images]).T)


@dataclass(frozen=True)
class Asked:
    """What is asked of the model.

    Attributes
    ----------
    bundle : Bundle
    spacing, steps, seed, planes
        As `output_spacing`, `steps`, `seed` and `planes` of `Session.run`.
    most_voxels : int
        In a result.
    """

    bundle: Bundle
    spacing: float | None
    steps: int | None
    seed: int
    planes: int | None
    most_voxels: int

    def result_bytes(self, volume: Volume) -> int:
        """Memory that the result of a volume will take.

        Raises
        ------
        InputError
            The model cannot take the volume, or the result would be too large.
        """
        grid = volume.grid
        shape = choose_output_shape(grid.shape, grid.spacing, self.spacing, self.bundle)
        if math.prod(shape) > self.most_voxels:
            raise InputError(
                f"expected a result of at most {self.most_voxels} voxels, it would have "
                f"{' x '.join(map(str, shape))}; start the server with a coarser --spacing"
            )
        return math.prod(shape) * volume.images[0].dtype.itemsize

    def run(
        self,
        volume: Volume,
        session: Session,
        cancel: Callable[[], bool],
        acquisition: str | None = None,
    ) -> Result:
        """Enhance a volume; `cancel` and errors are those of `Session.run`.

        Parameters
        ----------
        acquisition : str, optional
            "2D" or "3D".
        """
        axes = AxisOrder.nearest_ras(volume.grid.affine)
        run = session.run(
            axes.to_ras(volume.data),
            axes.spacing_to_ras(volume.grid.spacing),
            output_spacing=self.spacing,
            steps=self.steps,
            seed=self.seed,
            planes=self.planes,
            acquisition=acquisition_of(
                acquisition, None, volume.slice_thickness, volume.grid.spacing, axis=2
            ),
            cancel=cancel,
        )
        return Result(
            source=volume,
            slices=_stored(axes.from_ras(run.data).T, volume.images),
            made_by={
                "MoediffBundle": self.bundle.name,
                "MoediffBundleSHA256": self.bundle.hash,
                "MoediffSteps": str(run.steps),
                "MoediffSeed": str(run.seed),
                "MoediffPlanes": " ".join(run.planes),
            },
        )


@dataclass(frozen=True)
class Result:
    """An enhanced volume and what it came from.

    Attributes
    ----------
    source : Volume
    slices : (z, y, x) array
        In the axes, the intensity unit and the data type of the source.
    made_by : dict of str to str
        Attributes that say how.
    """

    source: Volume
    slices: npt.NDArray[Any]
    made_by: dict[str, str]

    @property
    def grid(self) -> Grid:
        """Where the slices are."""
        return self.source.grid.resized(self.slices.shape[::-1])

    def __len__(self) -> int:
        """How many images `images` makes."""
        return 1 if self.source.is_deep else len(self.slices)

    def images(self, series: int, first_number: int) -> Iterator[MrdImage]:
        """Make the images to send: one for a 3-D image, slices for slices.

        Parameters
        ----------
        series : int
            Series index of all.
        first_number : int
            Image index of the first.
        """
        for image in self._numbered(first_number):
            image.head.image_series_index = series
            yield image

    def _numbered(self, first_number: int) -> Iterator[MrdImage]:
        if self.source.is_deep:
            yield self._image(self.source.images[0], 0, len(self.slices), first_number)
            return
        count, wanted = len(self.source.images), len(self.slices)
        # The slice in which the new slice's middle lies.
        nearest = [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]
        for k, index in enumerate(nearest):
            image = self._image(self.source.images[index], k, 1, first_number + k)
            image.head.slice = k
            if k and nearest[k - 1] == index:
                image.head.flags &= ~_FIRST_FLAGS
            if k + 1 < wanted and nearest[k + 1] == index:
                image.head.flags &= ~_LAST_FLAGS
            yield image

    def _image(self, source: MrdImage, first: int, count: int, number: int) -> MrdImage:
        head = ImageHeader.from_buffer_copy(source.head)
        grid = self.grid
        centre, size = box_of(grid, first, count)
        head.matrix_size[:] = (grid.shape[0], grid.shape[1], count)
        head.position[:] = centre.tolist()
        head.field_of_view[:] = size.tolist()
        head.image_index = number % (1 << 16)
        attributes = self._meta(source).serialize().encode()
        head.attribute_string_len = len(attributes)
        return MrdImage(head, attributes, self.slices[first : first + count].tobytes())

    def _meta(self, source: MrdImage) -> Meta:
        """The source's attributes, and how this image was made from it."""
        meta = Meta(source.meta)
        for name in _IDENTITY:
            meta.pop(name, None)
        if self.grid.shape != self.source.grid.shape:
            for name in [name for name in meta if name == "IceMiniHead" or name[:3] == "ROI"]:
                del meta[name]
            meta["Keep_image_geometry"] = "0"
        row, column = row_and_column(source)
        meta["ImageRowDir"] = [f"{value:.9f}" for value in row]
        meta["ImageColumnDir"] = [f"{value:.9f}" for value in column]
        meta.setdefault("DataRole", "Image")
        for name, added in (
            ("ImageProcessingHistory", f"moediff-rt {__version__}"),
            ("SequenceDescriptionAdditional", "MoEDiffSR"),
            ("ImageType", "MOEDIFFSR"),
            ("ImageComments", NOTICE),
        ):
            meta[name] = [*values_of(source.meta, name), added]
        meta["MoediffSourceSeriesIndex"] = str(source.head.image_series_index)
        meta["MoediffSourceImageIndex"] = str(source.head.image_index)
        meta.update(self.made_by)
        return meta


def _stored(data: npt.NDArray[np.float32], source: Sequence[MrdImage]) -> npt.NDArray[Any]:
    """Values in the source's own type, C order; none below zero where the source has none.

    `data` may be changed.
    """
    dtype = source[0].dtype
    lowest = min(float(image.values.min()) for image in source)
    if dtype.kind == "f":
        if lowest >= 0:
            np.maximum(data, 0, out=data)
        return np.ascontiguousarray(data, dtype)
    limits = np.iinfo(dtype)
    out = np.empty(data.shape, dtype)
    for slice_out, values in zip(out, data, strict=True):
        slice_out[:] = np.clip(np.rint(values.astype(np.float64)), min(0, lowest), limits.max)
    return out
