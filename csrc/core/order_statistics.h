#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/parallel.h"

namespace mdr {

// The value that `percent` of 100 values lie below, linear between the two nearest (Hyndman and Fan
// 1996, Sample quantiles in statistical packages, definition 7). `values` must hold one at least.
double percentile(std::vector<double> values, double percent);

// Percentiles of more values than are worth a copy: they are looked at part by part.
class Ranked {
 public:
  // Appends the values of a part; it is called again and again, by any thread.
  using Part = std::function<void(int64_t part, std::vector<float>& values)>;

  Ranked(Parallel& parallel, int64_t parts, Part part);

  int64_t count() const { return count_; }
  // As above; NaN of no values.
  double percentile(double percent);

 private:
  using Histogram = std::vector<int64_t>;
  template <typename Bin>
  Histogram histogram(const Bin& bin) const;
  float value(int64_t rank);

  Parallel& parallel_;
  const int64_t parts_;
  const Part part_;
  Histogram upper_;  // of the upper half of the values' sort keys
  Histogram lower_;  // of the lower half, of the values whose upper half is `lower_of_`
  int64_t lower_of_ = -1;
  int64_t count_ = 0;
};

}  // namespace mdr
