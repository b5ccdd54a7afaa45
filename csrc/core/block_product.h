#pragma once

#include <cstdint>
#include <vector>

#include "core/lane_kernel.h"

namespace mdr {

// A (rows, columns) matrix that is multiplied with kLanes lines at once.
class BlockProduct {
 public:
  // `matrix` is row after row.
  BlockProduct(int rows, int columns, const std::vector<double>& matrix);

  // Samples of the output that run() writes: `rows` and up to three more.
  int64_t rows_written() const { return panels() * kPanel; }

  // (columns, kLanes) into (rows_written(), kLanes).
  void run(const float* in, float* out, Vectors vectors = widest_vectors()) const;

 private:
  static constexpr int kPanel = 4;  // rows computed together, to share what they read
  int64_t panels() const { return (rows_ + kPanel - 1) / kPanel; }

  int rows_, columns_;
  std::vector<float> panels_;  // (panels, columns, kPanel), zeros where there is no row
  struct Kernel;
};

}  // namespace mdr
