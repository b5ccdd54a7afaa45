#pragma once

#include <array>
#include <cstdint>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// Resampling an axis takes a matrix of its voxels before by those after: this is far beyond any
// scanner's and keeps it below half a gigabyte.
constexpr int kMostVoxelsPerAxis = 8192;

// Refuses more than kMostVoxelsPerAxis along z, y or x as Error(ErrorKind::input); `what` is "the
// scan" or "the output".
void check_axes(const char* what, const std::array<int64_t, 3>& voxels);

// Refuses a scan (nz, ny, nx) that is too small or too large as Error(ErrorKind::input).
void check_scan_shape(const VolumeShape& shape);

// Refuses a scan (nz, ny, nx) that cannot be enhanced, as Error(ErrorKind::input): too small or too
// large, with voxels that are not finite, without contrast, or nowhere above zero.
void check_scan(Parallel& parallel, const float* scan, const VolumeShape& shape);

}  // namespace mdr
