#pragma once

#include <array>
#include <vector>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

constexpr double kWidestProfile = 4;  // slice distances: more is a mistyped width

// How a scan was acquired along an axis, 0, 1 or 2 of (z, y, x): each of its slices the integral
// over a Gaussian profile, whose full width at half maximum is in slice distances; of width 0
// k-space was cut alone.
struct SliceProfile {
  int axis = 0;
  double width = 0;

  // Of each frequency along the axis, for a scan of as many slices; `seen` of them, the lowest.
  std::vector<double> gains(int slices, int seen) const;
};

// Two-dimensional acquisitions excite slices, whose profile damps what lies between them;
// three-dimensional ones encode them, like the other axes. Which one a scan is, it shows itself: of
// a profile, the power along its coarsest axis falls off towards the Nyquist frequency against that
// of the same anatomy along the other two. The width is 1 (also of slices that something else has
// damped as much, like interpolation by the scanner), or 0 where the scan is not one of thick
// slices, is too small to tell, or does not show one clearly.
//
// `scan` (nz, ny, nx) is a magnitude, `spacing_mm` its voxels' edges along z, y and x, `sigma` its
// noise standard deviation.
SliceProfile find_slice_profile(Parallel& parallel, const float* scan, const VolumeShape& shape,
                                const std::array<double, 3>& spacing_mm, double sigma);

}  // namespace mdr
