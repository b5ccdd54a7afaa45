#pragma once

#include <array>

#include "core/bundle.h"
#include "core/tiler.h"

namespace mdr {

// Refuses an output voxel edge, mm, outside what the bundle was trained for, as
// Error(ErrorKind::input).
void check_output_spacing(const Bundle& bundle, double output_spacing_mm);

// Shape of the output over the box of a scan of `scan` voxels with edges of `spacing_mm` (z, y, x).
// `output_spacing_mm` is the edge of its isotropic voxels, 0 for half the smallest input edge,
// within the bundle's range. The box is kept, so that edges are a little off where it is no
// multiple of them. Throws Error(ErrorKind::input) when the scan is too small or too large, when a
// voxel size is outside what the bundle was trained for, or when no computer this is meant for
// holds the output.
VolumeShape output_shape(const Bundle& bundle, const VolumeShape& scan,
                         const std::array<double, 3>& spacing_mm, double output_spacing_mm);

}  // namespace mdr
