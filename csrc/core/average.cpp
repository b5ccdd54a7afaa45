#include "core/average.h"

#include <algorithm>
#include <cmath>

namespace mdr {
namespace {

constexpr int64_t kGrain = 1 << 18;  // voxels

}  // namespace

void Average::add(Parallel& parallel, const float* volume) {
  ++count_;
  const bool second = count_ == 2;
  const auto count = static_cast<float>(count_);
  const float share = static_cast<float>(count_ - 1) / count;
  parallel.ranges(voxels_, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float gap = volume[i] - mean_[i];
      mean_[i] += gap / count;
      if (deviation_) deviation_[i] = (second ? 0.0f : deviation_[i]) + gap * gap * share;
    }
  });
}

void Average::finish(Parallel& parallel, float scale) {
  const auto freedom = static_cast<float>(std::max(1, count_ - 1));
  parallel.ranges(voxels_, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) mean_[i] *= scale;
    if (!deviation_) return;
    for (int64_t i = begin; i < end; ++i) {
      deviation_[i] = count_ == 1 ? 0.0f : std::sqrt(deviation_[i] / freedom) * scale;
    }
  });
}

}  // namespace mdr
