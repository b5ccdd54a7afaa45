"""Names of the held-out subjects, without what it takes to load them."""

from __future__ import annotations

# Gaussian sigma of each label-drawn subject, voxels of 1 mm.
SHARPNESS = {"sharp": 0.0, "sharp_blur04": 0.4, "sharp_blur08": 0.8}
SUBJECTS = ("mni152", *SHARPNESS)
