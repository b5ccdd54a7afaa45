#include "core/lane_fft.h"

#include <cmath>
#include <utility>

#include "ops/annotate.h"

namespace mdr {
namespace {

using Lines = LaneFft::Lines;

// One stage takes `m` groups of `radix` runs of `run` floats: run j of group p starts at
// (j m + p) run, and its result at (radix p + j) run.
struct Split {
  int64_t m, run;
  const float* twiddles;
  const float* roots;
};

MDR_CLONES void radix4(Lines x, Lines y, const Split& split) {
  const int64_t run = split.run;
  for (int64_t p = 0; p < split.m; ++p) {
    const float* w = split.twiddles + p * 6;
    const float* xr = x.re + p * run;
    const float* xi = x.im + p * run;
    float* __restrict yr = y.re + 4 * p * run;
    float* __restrict yi = y.im + 4 * p * run;
    const int64_t b = split.m * run, c = 2 * b, d = 3 * b;
    for (int64_t i = 0; i < run; ++i) {
      const float sum_r = xr[i] + xr[i + c], sum_i = xi[i] + xi[i + c];
      const float gap_r = xr[i] - xr[i + c], gap_i = xi[i] - xi[i + c];
      const float odd_r = xr[i + b] + xr[i + d], odd_i = xi[i + b] + xi[i + d];
      const float turn_r = xi[i + b] - xi[i + d], turn_i = xr[i + d] - xr[i + b];
      const float one_r = gap_r + turn_r, one_i = gap_i + turn_i;
      const float two_r = sum_r - odd_r, two_i = sum_i - odd_i;
      const float three_r = gap_r - turn_r, three_i = gap_i - turn_i;
      yr[i] = sum_r + odd_r;
      yi[i] = sum_i + odd_i;
      yr[i + run] = w[0] * one_r - w[1] * one_i;
      yi[i + run] = w[0] * one_i + w[1] * one_r;
      yr[i + 2 * run] = w[2] * two_r - w[3] * two_i;
      yi[i + 2 * run] = w[2] * two_i + w[3] * two_r;
      yr[i + 3 * run] = w[4] * three_r - w[5] * three_i;
      yi[i + 3 * run] = w[4] * three_i + w[5] * three_r;
    }
  }
}

MDR_CLONES void radix2(Lines x, Lines y, const Split& split) {
  const int64_t run = split.run, b = split.m * run;
  for (int64_t p = 0; p < split.m; ++p) {
    const float* w = split.twiddles + p * 2;
    const float* xr = x.re + p * run;
    const float* xi = x.im + p * run;
    float* __restrict yr = y.re + 2 * p * run;
    float* __restrict yi = y.im + 2 * p * run;
    for (int64_t i = 0; i < run; ++i) {
      const float gap_r = xr[i] - xr[i + b], gap_i = xi[i] - xi[i + b];
      yr[i] = xr[i] + xr[i + b];
      yi[i] = xi[i] + xi[i + b];
      yr[i + run] = w[0] * gap_r - w[1] * gap_i;
      yi[i + run] = w[0] * gap_i + w[1] * gap_r;
    }
  }
}

// y_q = w^q sum_j x_j root^(j q), as it is written.
MDR_CLONES void any_radix(Lines x, Lines y, const Split& split, int radix) {
  const int64_t run = split.run, apart = split.m * run;
  for (int64_t p = 0; p < split.m; ++p) {
    for (int q = 0; q < radix; ++q) {
      float* __restrict yr = y.re + (radix * p + q) * run;
      float* __restrict yi = y.im + (radix * p + q) * run;
      const float* xr = x.re + p * run;
      const float* xi = x.im + p * run;
      for (int64_t i = 0; i < run; ++i) {
        yr[i] = xr[i];
        yi[i] = xi[i];
      }
      for (int j = 1; j < radix; ++j) {
        xr += apart;
        xi += apart;
        const float* root = split.roots + 2 * (static_cast<int64_t>(j) * q % radix);
        const float c = root[0], s = root[1];
        for (int64_t i = 0; i < run; ++i) {
          yr[i] += c * xr[i] - s * xi[i];
          yi[i] += c * xi[i] + s * xr[i];
        }
      }
      if (q == 0) continue;
      const float* w = split.twiddles + 2 * (p * (radix - 1) + q - 1);
      const float c = w[0], s = w[1];
      for (int64_t i = 0; i < run; ++i) {
        const float re = c * yr[i] - s * yi[i];
        yi[i] = c * yi[i] + s * yr[i];
        yr[i] = re;
      }
    }
  }
}

std::vector<int> factors(int n) {
  std::vector<int> found;
  for (; n % 4 == 0; n /= 4) found.push_back(4);
  for (int prime = 2; prime * prime <= n; ++prime) {
    for (; n % prime == 0; n /= prime) found.push_back(prime);
  }
  if (n > 1) found.push_back(n);
  return found;
}

void push_root(std::vector<float>& to, int64_t k, int64_t n) {
  const double angle = -2 * std::acos(-1.0) * static_cast<double>(k % n) / static_cast<double>(n);
  to.push_back(static_cast<float>(std::cos(angle)));
  to.push_back(static_cast<float>(std::sin(angle)));
}

}  // namespace

LaneFft::LaneFft(int n) : n_(n) {
  int left = n;
  for (const int radix : factors(n)) {
    Stage stage;
    stage.radix = radix;
    for (int64_t p = 0; p < left / radix; ++p) {
      for (int64_t q = 1; q < radix; ++q) push_root(stage.twiddles, p * q, left);
    }
    for (int q = 0; q < radix; ++q) push_root(stage.roots, q, radix);
    stages_.push_back(std::move(stage));
    left /= radix;
  }
}

Lines LaneFft::run(Lines lines, Lines spare) const {
  int64_t left = n_, run = kFftLanes;
  for (const Stage& stage : stages_) {
    left /= stage.radix;
    const Split split{left, run, stage.twiddles.data(), stage.roots.data()};
    if (stage.radix == 4) {
      radix4(lines, spare, split);
    } else if (stage.radix == 2) {
      radix2(lines, spare, split);
    } else {
      any_radix(lines, spare, split, stage.radix);
    }
    std::swap(lines, spare);
    run *= stage.radix;
  }
  return lines;
}

}  // namespace mdr
