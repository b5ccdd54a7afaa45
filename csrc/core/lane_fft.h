#pragma once

#include <cstdint>
#include <vector>

namespace mdr {

// Fourier transforms of complex lines side by side, (n, kFftLanes), of any length: mixed radix
// (Stockham's self-sorting form), fast where n has small prime factors.
constexpr int kFftLanes = 8;

class LaneFft {
 public:
  explicit LaneFft(int n);

  // Real and imaginary parts, (n, kFftLanes) each.
  struct Lines {
    float* re;
    float* im;
  };

  // sum_j z[j] exp(-2 pi i j k / n), in `lines` or in `spare`: where, is returned. With `re` and
  // `im` exchanged in both, and in what is returned, it is the transform with + in the exponent.
  Lines run(Lines lines, Lines spare) const;

 private:
  struct Stage {
    int radix = 0;
    std::vector<float> twiddles;  // (n / radix, radix - 1, 2)
    std::vector<float> roots;     // (radix, 2)
  };
  int n_;
  std::vector<Stage> stages_;
};

}  // namespace mdr
