#pragma once

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// How far, in noise standard deviations, a result may stay from the scan: of 0.25 to 1.5, 1
// measured best on simulated scans of two heads, with 1 % and with 3 % noise.
constexpr double kKappa = 1.0;

// Data consistency: puts back into the result x, in place, what of the scan y it has lost. With A
// the k-space cut to the scan's resolution, A+ its right inverse (zero filling), and r = y - A x, x
// becomes x + A+ (r - clip(r, -kappa sigma, kappa sigma)), after which |y - A x| <= kappa sigma in
// every voxel. On an axis where the result is coarser than the scan, both are compared at the
// result's resolution. `sigma` is the scan's noise standard deviation. Returns the largest
// correction made at the scan's resolution, in the volumes' unit.
double enforce_consistency(Parallel& parallel, float* result, const VolumeShape& shape,
                           const float* scan, const VolumeShape& scan_shape, double sigma,
                           double kappa = kKappa);

}  // namespace mdr
