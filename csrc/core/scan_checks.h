#pragma once

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// Refuses a scan (nz, ny, nx) that cannot be enhanced, as Error(ErrorKind::input): too small or too
// large along an axis, with voxels that are not finite, without contrast, or nowhere above zero.
void check_scan(Parallel& parallel, const float* scan, const VolumeShape& shape);

}  // namespace mdr
