#include "core/scan_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/error.h"

namespace mdr {
namespace {

constexpr int kMinVoxelsPerAxis = 8;
constexpr int64_t kMaxVoxels = 1500000000;

struct Values {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  int64_t not_finite = 0;

  void take(const Values& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    not_finite += other.not_finite;
  }
};

Values values_of(const float* voxels, int64_t count) {
  Values found;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(voxels[i])) {
      ++found.not_finite;
      continue;
    }
    found.low = std::min(found.low, voxels[i]);
    found.high = std::max(found.high, voxels[i]);
  }
  return found;
}

}  // namespace

void check_axes(const char* what, const std::array<int64_t, 3>& voxels) {
  const auto [z, y, x] = voxels;
  if (std::max({z, y, x}) <= kMostVoxelsPerAxis) return;
  fail(ErrorKind::input, "expected at most ", kMostVoxelsPerAxis, " voxels along each axis of ",
       what, ", got ", x, " x ", y, " x ", z,
       "; a shape or a voxel edge was probably mistaken; check them, or choose a coarser output");
}

void check_scan_shape(const VolumeShape& shape) {
  const int least = std::min({shape.nz, shape.ny, shape.nx});
  const auto found = [&] { return text(shape.nx, " x ", shape.ny, " x ", shape.nz); };
  if (least < kMinVoxelsPerAxis) {
    fail(ErrorKind::input, "expected at least ", kMinVoxelsPerAxis, " voxels along each axis, got ",
         found(), "; a localizer or a cut-out? Give the whole volume");
  }
  check_axes("the scan", {shape.nz, shape.ny, shape.nx});
  if (shape.voxels() > kMaxVoxels) {
    fail(ErrorKind::input, "expected at most ", kMaxVoxels, " voxels, got ", found(),
         "; is the shape that of the volume? Give a smaller one");
  }
}

void check_scan(Parallel& parallel, const float* scan, const VolumeShape& shape) {
  check_scan_shape(shape);
  Values all;
  std::mutex mutex;
  parallel.ranges(shape.nz, 1, [&](int64_t z, int64_t) {
    const Values found = values_of(scan + z * shape.slice(), shape.slice());
    const std::lock_guard<std::mutex> lock(mutex);
    all.take(found);
  });
  if (all.not_finite > 0) {
    fail(ErrorKind::input, "expected finite voxel values, found ", all.not_finite,
         " NaN or infinite of ", shape.voxels(),
         "; a masked or failed reconstruction? Replace them by zeros");
  }
  if (all.low == all.high) {
    fail(ErrorKind::input, "expected a scan with contrast, all voxels are ", all.low,
         "; an empty export or a mask? Check it in a viewer");
  }
  if (all.high <= 0) {
    fail(ErrorKind::input, "expected voxel values above zero, the largest is ", all.high,
         "; a wrong scl_slope? Correct it, or give the magnitude image");
  }
}

}  // namespace mdr
