#include "core/prepare.h"

#include "core/error.h"
#include "core/order_statistics.h"

namespace mdr {
namespace {

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
  ready.scale = level / value;
  ready.measured = in_model_unit(parallel, scan, shape, ready.scale);
  return ready;
}

}  // namespace mdr
