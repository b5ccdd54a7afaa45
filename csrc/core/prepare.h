#pragma once

#include <array>

#include "core/foreground.h"
#include "core/parallel.h"
#include "core/voxels.h"

namespace mdr {

// What is known of a scan before it is resampled.
struct Prepared {
  Voxels measured;  // the scan in the model's intensity unit
  Foreground foreground;
  double scale = 0;  // scan intensity that the model's unit stands for: scan = scale measured
};

// The scan in the model's unit: divided by `scale`.
Voxels in_model_unit(Parallel& parallel, const float* scan, const VolumeShape& shape, double scale);

// Scales a scan's intensities, so that `percentile` of its foreground, or `level` where it is above
// zero, becomes `value`. Throws Error(ErrorKind::input) when the foreground's percentile is not
// above zero, or it or a voxel is beyond what any scan has, as fill values are.
Prepared prepare(Parallel& parallel, const float* scan, const VolumeShape& shape,
                 const std::array<double, 3>& spacing_mm, double percentile, double value,
                 double level = 0);

}  // namespace mdr
