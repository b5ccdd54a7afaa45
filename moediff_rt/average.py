"""Mean and spread of volumes that come one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]


class Average:
    """Running mean and variance (Welford 1962), in three volumes of memory at most.

    Attributes
    ----------
    count : int
        Volumes added.
    mean : float32 array
        Their mean; the first volume itself, and empty before it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Volume = np.empty(0, np.float32)
        self._squares: Volume | None = None

    def add(self, volume: Volume) -> None:
        """Take one more volume; it is used as working memory."""
        self.count += 1
        if self.count == 1:
            self.mean = volume
            return
        if self._squares is None:
            self._squares = np.zeros_like(self.mean)
        # Slice by slice: temporaries stay small.
        for mean, squares, piece in zip(self.mean, self._squares, volume, strict=True):
            piece -= mean
            mean += piece / np.float32(self.count)
            squares += piece * piece * np.float32((self.count - 1) / self.count)

    def standard_deviation(self) -> Volume | None:
        """Sample standard deviation; None of a single volume. It is used up by the call."""
        if self._squares is None:
            return None
        deviation, self._squares = self._squares, None
        deviation /= np.float32(self.count - 1)
        np.sqrt(deviation, out=deviation)
        return deviation
