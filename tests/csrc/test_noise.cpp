#include <cmath>
#include <vector>

#include "claim.h"
#include "ops/noise.h"

using claims::check;
using claims::Claim;
using namespace mdr;

namespace {

bool same(const Philox4& a, const Philox4& b) {
  return a.r0 == b.r0 && a.r1 == b.r1 && a.r2 == b.r2 && a.r3 == b.r3;
}

const Claim known("Philox4x32-10 gives the published known answers of Random123", [] {
  check(same(philox4x32_10(0, 0, 0, 0, 0, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}),
        "zeros");
  const uint32_t ones = 0xffffffff;
  check(same(philox4x32_10(ones, ones, ones, ones, ones, ones),
             {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}),
        "ones");
  check(same(philox4x32_10(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0),
             {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}),
        "pi");
});

double uniform(uint32_t r) { return ((r >> 8) + 0.5) * std::ldexp(1.0, -24); }

// Both ends of the range, around sqrt(1/2) and the quarter turns, and a sweep.
std::vector<uint32_t> words() {
  std::vector<uint32_t> out;
  for (const uint32_t centre : {0u, 1u << 29, 1u << 30, 3u << 30, 1u << 31, 0xB504F333u, ~0u}) {
    for (int i = -2000; i <= 2000; ++i) out.push_back(centre + static_cast<uint32_t>(i) * 64);
  }
  for (uint64_t r = 0; r < (1ull << 32); r += 104729) out.push_back(static_cast<uint32_t>(r));
  return out;
}

const Claim radius("the Box-Muller radius is within 2 units in the last place of float64", [] {
  for (const uint32_t r : words()) {
    const double expected = std::sqrt(-2 * std::log(uniform(r)));
    check(std::abs(box_muller_radius(r) - expected) <= 2.4e-7 * expected, "word ", r, ": ",
          box_muller_radius(r), ", expected ", expected);
  }
});

const Claim circle("cosine and sine are within 2e-7 of float64", [] {
  for (const uint32_t r : words()) {
    float cosine, sine;
    unit_circle(r, cosine, sine);
    const double turn = 2 * std::acos(-1.0) * uniform(r);
    check(std::abs(cosine - std::cos(turn)) < 2e-7 && std::abs(sine - std::sin(turn)) < 2e-7,
          "word ", r);
  }
});

const Claim vectors("the vectorised rows give the bits of the element function", [] {
  const int channels = 6, height = 3, width = 300;
  std::vector<float> noise(channels * height * width);
  normal_cpu(0x123456789abcdefull, 3, {5, 6, 7}, channels, height, width, noise.data());
  for (int c = 0; c < channels; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const Normal4 n = normal4(0x123456789abcdefull, 3, 5 + x, 6 + y, 7, c);
        const float lanes[] = {n.n0, n.n1, n.n2, n.n3};
        check(noise[(c * height + y) * width + x] == lanes[c % 4], "at ", c, " ", y, " ", x);
      }
    }
  }
});

}  // namespace
