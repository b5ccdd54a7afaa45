#include "core/block_product.h"

namespace mdr {

struct BlockProduct::Kernel {
  template <typename V>
  MDR_KERNEL run(const float* panels, int64_t count, int columns, const float* in, float* out) {
    constexpr int kParts = lane_parts<V>;
    for (int64_t panel = 0; panel < count; ++panel) {
      V sums[kPanel][kParts] = {};
      for (int i = 0; i < columns; ++i) {
        const V* from = lanes_at<V>(in, i);
        for (int r = 0; r < kPanel; ++r) {
          for (int p = 0; p < kParts; ++p) sums[r][p] += panels[r] * from[p];
        }
        panels += kPanel;
      }
      for (int r = 0; r < kPanel; ++r) {
        V* to = lanes_at<V>(out, panel * kPanel + r);
        for (int p = 0; p < kParts; ++p) to[p] = sums[r][p];
      }
    }
  }
};

BlockProduct::BlockProduct(int rows, int columns, const std::vector<double>& matrix)
    : rows_(rows), columns_(columns) {
  panels_.resize(panels() * columns * kPanel);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t panel = row / kPanel;
      panels_[(panel * columns + i) * kPanel + row % kPanel] =
          static_cast<float>(matrix[row * columns + i]);
    }
  }
}

void BlockProduct::run(const float* in, float* out, Vectors vectors) const {
  run_kernel<Kernel>(vectors, panels_.data(), panels(), columns_, in, out);
}

}  // namespace mdr
