#pragma once

#include <cstdint>

namespace mdr {

// Where sample i of n lies in the line that is mirrored beyond its ends, d c b a | a b c d.
inline int64_t mirrored(int64_t i, int64_t n) {
  i = (i % (2 * n) + 2 * n) % (2 * n);
  return i < n ? i : 2 * n - 1 - i;
}

}  // namespace mdr
