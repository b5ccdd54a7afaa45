#include "core/consistency.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/mirror.h"
#include "core/resample.h"
#include "core/voxels.h"
#include "ops/annotate.h"

namespace mdr {
namespace {

constexpr int kReach = 2;  // voxels to each side
constexpr float kWindow[2 * kReach + 1] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
constexpr double kRare = 3;      // in standard deviations: what is larger hardly is noise
constexpr float kMostAbove = 4;  // times the square of that
constexpr float kDeeper = 2;     // the truth's ringing, of the result's at the same place, at most

// `shown` becomes `wanted` - `shown`. A scan is a magnitude: what rings below zero it shows folded
// up, so `wanted` has the sign of `shown`. But what is brighter than ringing, with noise of `rare`,
// can be is there, however the result rings where it lacks it.
MDR_CLONES void subtract(const float* wanted, float rare, float* shown, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const bool folded = shown[i] < 0 && wanted[i] > 0 && wanted[i] <= rare - kDeeper * shown[i];
    shown[i] = (folded ? -wanted[i] : wanted[i]) - shown[i];
  }
}

// The weighed mean of kWindow lines.
MDR_CLONES void mean_of(const float* const* lines, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int k = 0; k <= 2 * kReach; ++k) sum += kWindow[k] * lines[k][i];
    out[i] = sum;
  }
}

// Squares, a square above `rare` times the cube of how many times it is that.
MDR_CLONES void weigh(const float* from, float rare, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const float power = from[i] * from[i];
    const float above = power > rare ? std::min(power / rare, kMostAbove) : 1;
    to[i] = power * above * above * above;
  }
}

// The residual, as far as its power around a voxel is above that of noise; returns the largest.
MDR_CLONES float shrink(const float* power, float noise, int64_t count, float* residual) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    residual[i] *= power[i] > noise ? 1 - noise / power[i] : 0;
    const float size = std::abs(residual[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

// Mean power of a slice (ny, nx) around each of its voxels, along y and x.
class SlicePower {
 public:
  SlicePower(int64_t ny, int64_t nx, float rare)
      : ny_(ny), nx_(nx), rare_(rare), line_(nx + 2 * kReach), rows_(ny * nx) {}

  void run(const float* slice, float* out) {
    const float* lines[2 * kReach + 1];
    for (int64_t y = 0; y < ny_; ++y) {
      weigh(slice + y * nx_, rare_, nx_, line_.data() + kReach);
      for (int k = 1; k <= kReach; ++k) {
        line_[kReach - k] = line_[kReach + mirrored(-k, nx_)];
        line_[kReach + nx_ - 1 + k] = line_[kReach + mirrored(nx_ - 1 + k, nx_)];
      }
      for (int k = 0; k <= 2 * kReach; ++k) lines[k] = line_.data() + k;
      mean_of(lines, nx_, rows_.data() + y * nx_);
    }
    for (int64_t y = 0; y < ny_; ++y) {
      for (int k = 0; k <= 2 * kReach; ++k) {
        lines[k] = rows_.data() + mirrored(y + k - kReach, ny_) * nx_;
      }
      mean_of(lines, nx_, out + y * nx_);
    }
  }

 private:
  int64_t ny_, nx_;
  float rare_;
  std::vector<float> line_, rows_;
};

// Leaves of the residual, in place, what is not noise of a variance; returns the largest.
float keep_signal(Parallel& parallel, const Voxels& residual, double variance, double kappa) {
  const auto noise = static_cast<float>(kappa * kappa * variance);
  const auto rare = static_cast<float>(kRare * kRare * variance);
  const VolumeShape& shape = residual.shape();
  const Voxels power(shape);
  constexpr int64_t kGrain = 4;
  parallel.ranges(shape.nz, kGrain, [&](int64_t begin, int64_t end) {
    SlicePower in_slices(shape.ny, shape.nx, rare);
    for (int64_t z = begin; z < end; ++z) {
      in_slices.run(residual.slice(static_cast<int>(z)), power.slice(static_cast<int>(z)));
    }
  });
  std::vector<float> largest(shape.nz);
  parallel.ranges(shape.nz, 1, [&](int64_t z, int64_t) {
    const float* slices[2 * kReach + 1];
    for (int k = 0; k <= 2 * kReach; ++k) {
      slices[k] = power.slice(static_cast<int>(mirrored(z + k - kReach, shape.nz)));
    }
    std::vector<float> around(shape.slice());
    mean_of(slices, shape.slice(), around.data());
    largest[z] = shrink(around.data(), noise, shape.slice(), residual.slice(static_cast<int>(z)));
  });
  return *std::max_element(largest.begin(), largest.end());
}

}  // namespace

double enforce_consistency(Parallel& parallel, float* result, const VolumeShape& shape,
                           const float* scan, const VolumeShape& scan_shape, double sigma,
                           double kappa, const SliceProfile& profile) {
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
  if (profile.width > 0) {
    const auto along = [&](const VolumeShape& of) {
      return profile.axis == 0 ? of.nz : profile.axis == 1 ? of.ny : of.nx;
    };
    filter_kspace(parallel, residual.data(), seen, profile.axis,
                  profile.gains(along(scan_shape), along(seen)));
  }
  const double averaged = static_cast<double>(seen.voxels()) / scan_shape.voxels();
  const double variance = sigma * sigma * averaged;
  const auto rare = static_cast<float>(kRare * std::sqrt(variance));
  parallel.ranges(seen.nz, 1, [&](int64_t z, int64_t) {
    subtract(scan + z * seen.slice(), rare, residual.slice(static_cast<int>(z)), seen.slice());
  });
  wanted.release();
  const float largest = keep_signal(parallel, residual, variance, kappa);
  add_resampled_kspace(parallel, residual.data(), seen, result, shape);
  return largest;
}

}  // namespace mdr
