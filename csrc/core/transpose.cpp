#include "core/transpose.h"

#include <algorithm>

#include "core/lane_kernel.h"

namespace mdr {
namespace {

constexpr int64_t kBlock = 16;  // both sides of a block stay in the nearest cache
constexpr int64_t kSquare = 4;

void square(const float* from, int64_t from_row, int64_t to_row, float* to) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
  const auto row = [&](int64_t r) {
    return *reinterpret_cast<const Vector4*>(from + r * from_row);
  };
  const Vector4 a = row(0), b = row(1), c = row(2), d = row(3);
  const Vector4 low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Vector4 high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Vector4 low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Vector4 high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto column = [&](int64_t r) { return reinterpret_cast<Vector4*>(to + r * to_row); };
  *column(0) = __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5);
  *column(1) = __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7);
  *column(2) = __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5);
  *column(3) = __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7);
  return;
#endif
#endif
  for (int64_t r = 0; r < kSquare; ++r) {
    for (int64_t c = 0; c < kSquare; ++c) to[c * to_row + r] = from[r * from_row + c];
  }
}

}  // namespace

void transpose(const float* from, int64_t rows, int64_t columns, int64_t from_row, int64_t to_row,
               float* to) {
  for (int64_t c0 = 0; c0 < columns; c0 += kBlock) {
    const int64_t c1 = std::min(columns, c0 + kBlock);
    for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
      for (int64_t c = c0; c < c1; c += kSquare) {
        const float* at = from + r0 * from_row + c;
        float* turned = to + c * to_row + r0;
        if (r0 + kSquare <= rows && c + kSquare <= c1) {
          square(at, from_row, to_row, turned);
          continue;
        }
        for (int64_t r = 0; r < std::min(kSquare, rows - r0); ++r) {
          for (int64_t k = 0; k < std::min(kSquare, c1 - c); ++k) {
            turned[k * to_row + r] = at[r * from_row + k];
          }
        }
      }
    }
  }
}

}  // namespace mdr
