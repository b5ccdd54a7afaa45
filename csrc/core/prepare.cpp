#include "core/prepare.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/order_statistics.h"

namespace mdr {
namespace {

// What the model's unit may stand for: no scan's unit makes tissue fainter or brighter, fill values
// do.
constexpr double kLowestScale = 1e-30, kHighestScale = 1e18;
// A voxel of so many times the bright level changes the rest of the result by up to half a percent
// of it, by rounding alone.
constexpr double kMostAboveLevel = 1e6;

double bright_level(Parallel& parallel, const float* scan, const Foreground& foreground,
                    double percentile) {
  const VolumeShape& shape = foreground.shape;
  Ranked tissue(parallel, shape.nz, [&](int64_t z, std::vector<float>& values) {
    foreground.runs(foreground.inside, true, z, [&](int64_t y, int64_t x0, int64_t x1) {
      const float* row = scan + z * shape.slice() + y * shape.nx;
      values.insert(values.end(), row + x0, row + x1);
    });
  });
  const double level = tissue.percentile(percentile);
  if (!(level > 0)) {
    fail(ErrorKind::input, "expected bright tissue in the scan, its ", percentile,
         "th percentile is ", level,
         "; a wrong scl_slope or an inverted image? Check it in a viewer");
  }
  return level;
}

// Of all voxels the one farthest from zero.
float farthest_from_zero(Parallel& parallel, const float* scan, const VolumeShape& shape) {
  const auto nearer = [](float a, float b) { return std::abs(a) < std::abs(b); };
  std::vector<float> farthest(shape.nz);
  parallel.ranges(shape.nz, 1, [&](int64_t z, int64_t) {
    const float* from = scan + z * shape.slice();
    farthest[z] = *std::max_element(from, from + shape.slice(), nearer);
  });
  return *std::max_element(farthest.begin(), farthest.end(), nearer);
}

void check_range(Parallel& parallel, const float* scan, const VolumeShape& shape, double level,
                 double value) {
  if (!(level >= kLowestScale * value && level <= kHighestScale * value)) {
    fail(ErrorKind::input, "expected bright tissue from ", kLowestScale * value, " to ",
         kHighestScale * value, ", found ", level,
         "; fill values or a wrong scl_slope? Replace them by zeros, or correct it");
  }
  const float farthest = farthest_from_zero(parallel, scan, shape);
  if (std::abs(farthest) <= kMostAboveLevel * level) return;
  fail(ErrorKind::input, "expected voxels of at most ", kMostAboveLevel,
       " times the level of bright tissue, ", level, ", found ", farthest,
       "; fill values or a failed reconstruction? Replace them by zeros");
}

}  // namespace

Voxels in_model_unit(Parallel& parallel, const float* scan, const VolumeShape& shape,
                     double scale) {
  Voxels scaled(shape);
  const auto factor = static_cast<float>(1 / scale);
  parallel.ranges(shape.nz, 1, [&](int64_t z, int64_t) {
    const float* from = scan + z * shape.slice();
    float* to = scaled.slice(static_cast<int>(z));
    for (int64_t i = 0; i < shape.slice(); ++i) to[i] = from[i] * factor;
  });
  return scaled;
}

Prepared prepare(Parallel& parallel, const float* scan, const VolumeShape& shape,
                 const std::array<double, 3>& spacing_mm, double percentile, double value,
                 double level) {
  Prepared ready;
  ready.foreground = find_foreground(parallel, scan, shape, spacing_mm);
  if (!(level > 0)) level = bright_level(parallel, scan, ready.foreground, percentile);
  check_range(parallel, scan, shape, level, value);
  ready.scale = level / value;
  ready.measured = in_model_unit(parallel, scan, shape, ready.scale);
  return ready;
}

}  // namespace mdr
