#include <algorithm>
#include <cmath>
#include <vector>

#include "core/axis_resampler.h"
#include "core/mirror.h"

namespace mdr {
namespace {

double cubic_bspline(double x) {
  x = std::abs(x);
  if (x < 1) return 2.0 / 3 - x * x + x * x * x / 2;
  const double rest = std::max(2 - x, 0.0);
  return rest * rest * rest / 6;
}

// Samples to coefficients, in place: a tridiagonal system, by elimination.
struct Solve {
  template <typename V>
  MDR_KERNEL run(float* lines, int n, const float* scale) {
    for (int p = 0; p < lane_parts<V>; ++p) {
      V last = lanes_at<V>(lines, 0)[p] * scale[0];
      lanes_at<V>(lines, 0)[p] = last;
      for (int i = 1; i < n; ++i) {
        V* at = lanes_at<V>(lines, i) + p;
        last = (*at - last) * scale[i];
        *at = last;
      }
      for (int i = n - 2; i >= 0; --i) {
        V* at = lanes_at<V>(lines, i) + p;
        last = *at - scale[i] * last;
        *at = last;
      }
    }
  }
};

struct Evaluate {
  template <typename V>
  MDR_KERNEL run(const float* lines, int taps, const int* first, const float* weights, int to,
                 float* out) {
    for (int j = 0; j < to; ++j) {
      V sums[lane_parts<V>] = {};
      for (int t = 0; t < taps; ++t) {
        const V* from = lanes_at<V>(lines, first[j] + t);
        for (int p = 0; p < lane_parts<V>; ++p) sums[p] += weights[t] * from[p];
      }
      for (int p = 0; p < lane_parts<V>; ++p) lanes_at<V>(out, j)[p] = sums[p];
      weights += taps;
    }
  }
};

class CubicSpline : public AxisResampler {
 public:
  CubicSpline(int from, int to) : AxisResampler(from, to), taps_(std::min(4, from)) {
    eliminate(from);
    weigh(from, to);
  }

  int64_t scratch() const override { return 0; }

  void run(float* in, float* out, float*) const override {
    const Vectors vectors = widest_vectors();
    run_kernel<Solve>(vectors, in, from(), scale_.data());
    run_kernel<Evaluate>(vectors, in, taps_, first_.data(), weights_.data(), to(), out);
  }

 private:
  // c[i-1] + 4 c[i] + c[i+1] = 6 s[i], mirrored at the ends. The 6 is in the weights.
  void eliminate(int n) {
    double scale = 0;
    for (int i = 0; i < n; ++i) {
      const double diagonal = 4 + (i == 0) + (i == n - 1);
      scale = 1 / (diagonal - scale);
      scale_.push_back(static_cast<float>(scale));
    }
  }

  void weigh(int n, int to) {
    weights_.assign(int64_t{to} * taps_, 0.0f);
    for (int j = 0; j < to; ++j) {
      const double position = (j + 0.5) * n / to - 0.5;
      const int nearest = static_cast<int>(std::floor(position));
      const int first = std::clamp(nearest - 1, 0, n - taps_);
      first_.push_back(first);
      for (int index = nearest - 1; index <= nearest + 2; ++index) {
        weights_[int64_t{j} * taps_ + mirrored(index, n) - first] +=
            static_cast<float>(6 * cubic_bspline(position - index));
      }
    }
  }

  int taps_;
  std::vector<float> scale_;
  std::vector<int> first_;
  std::vector<float> weights_;  // (to, taps)
};

}  // namespace

std::unique_ptr<AxisResampler> cubic_spline(int from, int to) {
  return std::make_unique<CubicSpline>(from, to);
}

}  // namespace mdr
