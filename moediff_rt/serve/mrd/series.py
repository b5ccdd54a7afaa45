"""Slices collected into the volumes that they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import Refused
from .images import MrdImage
from .limits import Limits

# With the series and the image type, what sets one volume of a series apart from the next.
_COUNTERS = ("average", "contrast", "phase", "repetition", "set")


@dataclass
class Series:
    """The images that make one volume: slices of one series, contrast, and so on, or a 3-D image.

    Attributes
    ----------
    index : int
        The `image_series_index` that they share.
    images : list of MrdImage
        In the order in which they came.
    """

    index: int
    images: list[MrdImage] = field(default_factory=list)

    @property
    def held_bytes(self) -> int:
        """Memory that the images take."""
        return sum(image.held_bytes for image in self.images)


class Collected:
    """The slices of a connection, volume by volume."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._series: dict[tuple[int, ...], Series] = {}
        self._images: dict[int, int] = {}

    def add(self, image: MrdImage) -> None:
        """Put an image where it belongs; `Refused` beyond the limits."""
        index = int(image.head.image_series_index)
        # Counted over all volumes of the series: their numbers share 16 bits.
        self._images[index] = count = self._images.get(index, 0) + 1
        if count > self._limits.series_images:
            raise Refused(
                f"expected at most {self._limits.series_images} images in a series, got more; "
                "send its volumes as several series"
            )
        counters = (int(getattr(image.head, name)) for name in _COUNTERS)
        key = (index, int(image.head.image_type), *counters)
        if key not in self._series and len(self._series) == self._limits.volumes:
            raise Refused(
                f"expected at most {self._limits.volumes} volumes in a connection, got more; "
                "send the rest in another connection"
            )
        self._series.setdefault(key, Series(index)).images.append(image)

    def take(self) -> Iterator[Series]:
        """Hand over one series after the other, in the order of their first images."""
        while self._series:
            yield self._series.pop(next(iter(self._series)))
