#include <algorithm>

#include "ops/noise.h"

namespace mdr {
namespace {

// One row of cells for four channels; rows that the last group lacks point at a spare row.
MDR_CLONES void normal_row(uint64_t seed, uint32_t noise_index, uint32_t x0, uint32_t y, uint32_t z,
                           uint32_t channel, int width, float* a, float* b, float* c, float* d) {
#pragma GCC ivdep
  for (int x = 0; x < width; ++x) {
    const Normal4 n = normal4(seed, noise_index, x0 + static_cast<uint32_t>(x), y, z, channel);
    a[x] = n.n0;
    b[x] = n.n1;
    c[x] = n.n2;
    d[x] = n.n3;
  }
}

}  // namespace

void normal_cpu(uint64_t seed, int noise_index, const NoiseOrigin& origin, int channels, int height,
                int width, float* out) {
  constexpr int kBlock = 256;
  float spare[3][kBlock];
  const int64_t plane = int64_t{height} * width;
  for (int c = 0; c < channels; c += 4) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; x += kBlock) {
        float* to[4];
        for (int i = 0; i < 4; ++i) {
          to[i] = c + i < channels ? out + (c + i) * plane + int64_t{y} * width + x : spare[i - 1];
        }
        normal_row(seed, static_cast<uint32_t>(noise_index), static_cast<uint32_t>(origin.x + x),
                   static_cast<uint32_t>(origin.y + y), static_cast<uint32_t>(origin.z),
                   static_cast<uint32_t>(c), std::min(kBlock, width - x), to[0], to[1], to[2],
                   to[3]);
      }
    }
  }
}

}  // namespace mdr
