#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace mdr {

// Running mean and spread of volumes that come one after the other (Welford 1962, Note on a method
// for calculating corrected sums of squares and products).
class Average {
 public:
  // Of `voxels` voxels each. `mean` is where the first volume is, and then the mean. `deviation` is
  // null, or takes their sample standard deviation, 0 of a single volume.
  Average(int64_t voxels, float* mean, float* deviation)
      : voxels_(voxels), mean_(mean), deviation_(deviation) {}

  // Takes one more volume after the first.
  void add(Parallel& parallel, const float* volume);

  // Ends with both times `scale`.
  void finish(Parallel& parallel, float scale);

 private:
  int64_t voxels_;
  float* mean_;
  float* deviation_;  // sums of squares until finish()
  int count_ = 1;
};

}  // namespace mdr
