#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "ops/annotate.h"

namespace mdr {

// Where a tile's latent starts in the volume's latent grid, and its slice.
struct NoiseOrigin {
  int x = 0, y = 0, z = 0;
};

struct Philox4 {
  uint32_t r0, r1, r2, r3;
};

struct Normal4 {
  float n0, n1, n2, n3;
};

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
MDR_HD Philox4 philox4x32_10(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                             uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// sqrt(-2 ln u), u = ((r >> 8) + 0.5) 2^-24. Plain IEEE operations only, so that every device gives
// the same bits: ln(u 2^-e) = 2 atanh((m-1)/(m+1)), with 1-u formed exactly where u is near 1.
MDR_HD float box_muller_radius(uint32_t r) {
  const int32_t odd = static_cast<int32_t>((r >> 8) * 2 + 1);  // u = odd 2^-25
  float mantissa = static_cast<float>(odd);
  uint32_t bits;
  std::memcpy(&bits, &mantissa, sizeof bits);
  const int32_t high = (bits & 0x7FFFFFu) > 0x3504F3u;  // mantissa above sqrt(2)
  const int32_t exponent = static_cast<int32_t>(bits >> 23) - 127 + high - 25;
  bits = (bits & 0x7FFFFFu) | (high ? 0x3F000000u : 0x3F800000u);
  std::memcpy(&mantissa, &bits, sizeof bits);
  const float near_one = static_cast<float>(odd - 33554432) * 2.98023223876953125e-8f;
  const float f = odd > 23726566 ? near_one : mantissa - 1.0f;
  const float s = f / (2.0f + f);
  const float q = s * s;
  const float series =
      1.0f + q * (0.333333333f + q * (0.2f + q * (0.142857143f + q * 0.111111111f)));
  const float e = odd > 23726566 ? 0.0f : static_cast<float>(exponent);
  return std::sqrt(-2.0f * (2.0f * s * series + e * 0.693147181f));
}

// cos and sin of 2 pi u by Taylor series within an eighth of a turn of the nearest quarter turn.
MDR_HD void unit_circle(uint32_t r, float& cosine, float& sine) {
  const int32_t odd = static_cast<int32_t>((r >> 8) * 2 + 1);
  const int32_t quarter = (odd + 4194304) >> 23;
  const float x = static_cast<float>(odd - quarter * 8388608) * 1.87253514e-7f;  // 2 pi 2^-25
  const float q = x * x;
  const float s =
      x * (1.0f +
           q * (-0.166666667f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * 2.75573192e-6f))));
  const float c =
      1.0f + q * (-0.5f + q * (4.16666667e-2f +
                               q * (-1.38888889e-3f + q * (2.48015873e-5f + q * -2.75573192e-7f))));
  const float a = quarter & 1 ? s : c;
  const float b = quarter & 1 ? c : s;
  cosine = (quarter + 1) & 2 ? -a : a;
  sine = quarter & 2 ? -b : b;
}

// Four standard normals for channels 4 (channel / 4) .. +3 of one latent cell. noise_index 0 is the
// start noise, k + 1 the noise that step k adds.
MDR_HD Normal4 normal4(uint64_t seed, uint32_t noise_index, uint32_t x, uint32_t y, uint32_t z,
                       uint32_t channel) {
  const Philox4 r = philox4x32_10(x, y, z, noise_index * 65536u + channel / 4u,
                                  static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  float c0, s0, c1, s1;
  unit_circle(r.r1, c0, s0);
  unit_circle(r.r3, c1, s1);
  const float a = box_muller_radius(r.r0), b = box_muller_radius(r.r2);
  return {a * c0, a * s0, b * c1, b * s1};
}

// The normal of `channel`, one of the four that `normals` holds.
MDR_HD float normal_of(const Normal4& normals, int channel) {
  const int lane = channel & 3;
  return lane == 0 ? normals.n0 : lane == 1 ? normals.n1 : lane == 2 ? normals.n2 : normals.n3;
}

// Standard normals of one tile into `out` (channels, height, width).
void normal_cpu(uint64_t seed, int noise_index, const NoiseOrigin& origin, int channels, int height,
                int width, float* out);

}  // namespace mdr
