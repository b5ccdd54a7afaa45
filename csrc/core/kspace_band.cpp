#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/axis_resampler.h"
#include "core/lane_fft.h"
#include "ops/annotate.h"

namespace mdr {
namespace {

// Two real lines are one complex line: lane l and lane l + kFftLanes.
static_assert(kLanes == 2 * kFftLanes);

using Lines = LaneFft::Lines;

// Where sample i of a line is in the order that a DCT of n takes from an FFT of n (Makhoul 1980, A
// fast cosine transform in one and two dimensions).
int64_t place(int64_t i, int64_t n) { return i % 2 == 0 ? i / 2 : n - 1 - i / 2; }

// sum_j x[j] cos(pi (2 j + 1) k / 2n), k < kept, times `turns`' scale, from the FFT of the line.
MDR_CLONES void to_cosines(Lines fft, int64_t n, int64_t kept, const float* turns, float* cosines) {
  for (int64_t k = 0; k < kept; ++k) {
    const float c = turns[2 * k], s = turns[2 * k + 1];
    const int64_t one = k * kFftLanes, other = (k == 0 ? 0 : n - k) * kFftLanes;
    float* __restrict out = cosines + k * kLanes;
    for (int l = 0; l < kFftLanes; ++l) {
      const float re = fft.re[one + l], im = fft.im[one + l];
      const float re2 = fft.re[other + l], im2 = fft.im[other + l];
      out[l] = (re + re2) * c + (im - im2) * s;
      out[l + kFftLanes] = (im + im2) * c - (re - re2) * s;
    }
  }
}

// What the inverse FFT of length n makes a line of: the reverse of the above.
MDR_CLONES void from_cosines(const float* cosines, int64_t n, int64_t kept, const float* turns,
                             Lines fft) {
  const float none[kLanes] = {};
  for (int64_t k = 0; k < n; ++k) {
    const float c = turns[2 * k], s = turns[2 * k + 1];
    const float* one = k < kept ? cosines + k * kLanes : none;
    const float* other = k > 0 && n - k < kept ? cosines + (n - k) * kLanes : none;
    float* __restrict re = fft.re + k * kFftLanes;
    float* __restrict im = fft.im + k * kFftLanes;
    for (int l = 0; l < kFftLanes; ++l) {
      const float a = one[l], a2 = other[l];
      const float b = one[l + kFftLanes], b2 = other[l + kFftLanes];
      re[l] = (c * a + s * a2) - (s * b - c * b2);
      im[l] = (s * a - c * a2) + (c * b + s * b2);
    }
  }
}

// cos and sin of pi k / 2n, times `scale`.
std::vector<float> quarter_turns(int n, double scale) {
  std::vector<float> turns;
  for (int k = 0; k < n; ++k) {
    const double angle = std::acos(-1.0) * k / (2.0 * n);
    turns.push_back(static_cast<float>(scale * std::cos(angle)));
    turns.push_back(static_cast<float>(scale * std::sin(angle)));
  }
  return turns;
}

class KspaceBand : public AxisResampler {
 public:
  KspaceBand(int from, int to)
      : AxisResampler(from, to),
        analysis_(from),
        synthesis_(to),
        analysis_turns_(quarter_turns(from, 0.5 / from)),
        synthesis_turns_(quarter_turns(to, 1)) {}

  int64_t scratch() const override { return int64_t{4} * kFftLanes * std::max(from(), to()); }

  void run(float* in, float* out, float* scratch) const override {
    const int64_t n = from(), m = to(), kept = std::min(n, m);
    const int64_t part = kFftLanes * std::max(n, m);
    const Lines lines{scratch, scratch + part};
    const Lines spare{scratch + 2 * part, scratch + 3 * part};
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = place(i, n) * kFftLanes;
      std::copy_n(in + i * kLanes, kFftLanes, lines.re + at);
      std::copy_n(in + i * kLanes + kFftLanes, kFftLanes, lines.im + at);
    }
    to_cosines(analysis_.run(lines, spare), n, kept, analysis_turns_.data(), in);
    from_cosines(in, m, kept, synthesis_turns_.data(), lines);
    const Lines swapped = synthesis_.run({lines.im, lines.re}, {spare.im, spare.re});
    for (int64_t i = 0; i < m; ++i) {
      const int64_t at = place(i, m) * kFftLanes;
      std::copy_n(swapped.im + at, kFftLanes, out + i * kLanes);
      std::copy_n(swapped.re + at, kFftLanes, out + i * kLanes + kFftLanes);
    }
  }

 private:
  LaneFft analysis_, synthesis_;
  std::vector<float> analysis_turns_, synthesis_turns_;
};

}  // namespace

std::unique_ptr<AxisResampler> kspace_band(int from, int to) {
  return std::make_unique<KspaceBand>(from, to);
}

}  // namespace mdr
