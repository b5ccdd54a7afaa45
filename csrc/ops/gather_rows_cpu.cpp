#include <algorithm>

#include "ops/gather_rows.h"

namespace mdr {

void gather_rows_cpu(int tiles, int experts, const int* slots, int64_t row, const float* from,
                     float* const* to) {
  for (int b = 0; b < tiles; ++b) {
    for (int i = 0; i < experts; ++i) {
      const int slot = slots[b * experts + i];
      if (to[i] && slot >= 0) std::copy_n(from + b * row, row, to[i] + slot * row);
    }
  }
}

}  // namespace mdr
