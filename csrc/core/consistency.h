#pragma once

#include "core/parallel.h"
#include "core/slice_profile.h"
#include "core/tiler.h"

namespace mdr {

// How large, in noise standard deviations, what a result leaves out of the scan may be and pass for
// noise. Of 0.75 to 1, 0.85 was best or next to it for simulated scans of every kind that was tried
// (docs/pipeline.md).
constexpr double kKappa = 0.85;

// Data consistency: puts back into the result x, in place, what of the scan y it has lost. With A
// how the scan was acquired (k-space cut to its resolution, and the slice profile), A+ zero filling
// and r = s y - A x, x becomes x + A+ (g r), where g = max(0, 1 - (kappa sigma)^2 / v) and v is the
// mean of r^2 around each voxel, weighed by (1 4 6 4 1) / 16 along each axis: Wiener's gain for
// what is in r beside noise. A single voxel of the scan may be all that shows of a small lesion:
// where r is more than 3 sigma, r^2 counts (r / 3 sigma)^6 times in v (4^3 times at most). Where r
// is at most kappa sigma nothing is put back, where it is much larger nearly all of it: without a
// profile ||A x| - y| <= 3.17 sigma in every voxel, for kappa = 0.85.
//
// A scan is a magnitude, so where A x, with the ringing of the cut, is below zero, it is compared
// with -y: s is the sign of A x. But for ringing y is too bright where it is above 3 sigma - 2 A x:
// there it is compared as it is, s is 1, lest what x lacks come back dark because x rings where it
// lacks it. Where y itself is below zero the scan is none, and s is 1, too. On an
// axis where the result is coarser than the scan, both are compared at the result's resolution.
// `sigma` is the scan's noise standard deviation. Returns the largest correction made at the scan's
// resolution, in the volumes' unit.
double enforce_consistency(Parallel& parallel, float* result, const VolumeShape& shape,
                           const float* scan, const VolumeShape& scan_shape, double sigma,
                           double kappa = kKappa, const SliceProfile& profile = {});

}  // namespace mdr
