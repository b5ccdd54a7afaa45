#include "core/consistency.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/resample.h"
#include "core/voxels.h"
#include "ops/annotate.h"

namespace mdr {
namespace {

// `shown` becomes what of `wanted` - `shown` is beyond the limit, `wanted` with the sign of
// `shown`; returns the largest.
MDR_CLONES float beyond(const float* wanted, float* shown, int64_t count, float limit) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool folded = shown[i] < 0 && wanted[i] > 0;
    const float gap = (folded ? -wanted[i] : wanted[i]) - shown[i];
    const float kept = gap < -limit ? -limit : gap > limit ? limit : gap;
    shown[i] = gap - kept;
    const float size = std::abs(shown[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

}  // namespace

double enforce_consistency(Parallel& parallel, float* result, const VolumeShape& shape,
                           const float* scan, const VolumeShape& scan_shape, double sigma,
                           double kappa) {
  const VolumeShape seen{std::min(shape.nz, scan_shape.nz), std::min(shape.ny, scan_shape.ny),
                         std::min(shape.nx, scan_shape.nx)};
  Voxels wanted;
  if (!(seen == scan_shape)) {
    wanted = Voxels(seen);
    resample_kspace(parallel, scan, scan_shape, wanted.data(), seen);
    scan = wanted.data();
  }
  const Voxels residual(seen);
  resample_kspace(parallel, result, shape, residual.data(), seen);
  const double averaged = static_cast<double>(seen.voxels()) / scan_shape.voxels();
  const auto limit = static_cast<float>(kappa * sigma * std::sqrt(averaged));
  std::vector<float> largest(seen.nz);
  parallel.ranges(seen.nz, 1, [&](int64_t z, int64_t) {
    const int64_t at = z * seen.slice();
    largest[z] = beyond(scan + at, residual.data() + at, seen.slice(), limit);
  });
  wanted.release();
  add_resampled_kspace(parallel, residual.data(), seen, result, shape);
  return *std::max_element(largest.begin(), largest.end());
}

}  // namespace mdr
