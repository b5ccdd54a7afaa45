#pragma once

#include <vector>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// Volumes are (nz, ny, nx), x fastest; both grids cover the same box.

// Cubic B-spline towards finer voxels, k-space cut towards coarser ones.
void interpolate(Parallel& parallel, const float* volume, const VolumeShape& shape, float* out,
                 const VolumeShape& out_shape);

// K-space cut towards coarser voxels, filled with zeros towards finer ones.
void resample_kspace(Parallel& parallel, const float* volume, const VolumeShape& shape, float* out,
                     const VolumeShape& out_shape);

// `out` += what resample_kspace() would write.
void add_resampled_kspace(Parallel& parallel, const float* volume, const VolumeShape& shape,
                          float* out, const VolumeShape& out_shape);

// Multiplies each frequency along an axis, 0, 1 or 2 of (z, y, x), by its gain, in place; as many
// gains as the axis has voxels, from 0 to the Nyquist frequency.
void filter_kspace(Parallel& parallel, float* volume, const VolumeShape& shape, int axis,
                   const std::vector<double>& gains);

}  // namespace mdr
