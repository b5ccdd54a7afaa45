#include <algorithm>
#include <cmath>
#include <vector>

#include "core/axis_resampler.h"
#include "core/block_product.h"

namespace mdr {
namespace {

// sin((kept - 1/2) angle) / (2 sin(angle / 2)), where angle is pi times a fraction: Dirichlet's
// kernel, 1/2 + sum of cos(k angle) for k from 1 to kept - 1.
double dirichlet(int64_t numerator, int64_t denominator, int kept) {
  if (numerator == 0) return kept - 0.5;
  const double angle = std::acos(-1.0) * static_cast<double>(numerator) / denominator;
  return std::sin((kept - 0.5) * angle) / (2 * std::sin(angle / 2));
}

// Of a band: weight of sample i of n in sample j of m: 1/n (1 + 2 sum over 0 < k < kept of
// cos(pi k (2j + 1) / 2m) cos(pi k (2i + 1) / 2n)), the DCT-II of n and the DCT-III of m in one.
double band_weight(int64_t j, int64_t m, int64_t i, int64_t n) {
  const int kept = static_cast<int>(std::min(n, m));
  const int64_t to = (2 * j + 1) * n, from = (2 * i + 1) * m;
  return (dirichlet(to + from, 2 * m * n, kept) + dirichlet(to - from, 2 * m * n, kept)) / n;
}

// Weights of sample i in sample j where each frequency k has a gain: 1/n (g_0 + 2 sum over k > 0 of
// g_k cos(pi k (2j + 1) / 2n) cos(pi k (2i + 1) / 2n)), which is 1/n (D(j - i) + D(j + i + 1)) with
// D(d) = g_0 / 2 + sum of g_k cos(pi k d / n).
class GainWeights {
 public:
  explicit GainWeights(const std::vector<double>& gains)
      : n_(static_cast<int64_t>(gains.size())), sums_(2 * n_, gains[0] / 2) {
    std::vector<double> cosine(2 * n_);
    for (int64_t i = 0; i < 2 * n_; ++i) cosine[i] = std::cos(std::acos(-1.0) * i / n_);
    for (int64_t d = 0; d < 2 * n_; ++d) {
      for (int64_t k = 1; k < n_; ++k) sums_[d] += gains[k] * cosine[k * d % (2 * n_)];
    }
  }

  double operator()(int64_t j, int64_t i) const {
    return (sums_[std::abs(j - i)] + sums_[j + i + 1]) / n_;
  }

 private:
  int64_t n_;
  std::vector<double> sums_;
};

// A line is the sum of an even and an odd line, and so is what becomes of it: half the products.
struct Halves {
  BlockProduct even, odd;

  // `weight(j, i)` of sample i of n in sample j of m.
  template <typename Weight>
  static Halves of(int n, int m, const Weight& weight) {
    std::vector<double> even, odd;
    even.reserve(int64_t{(m + 1) / 2} * ((n + 1) / 2));
    odd.reserve(int64_t{m / 2} * (n / 2));
    for (int j = 0; j < (m + 1) / 2; ++j) {
      for (int i = 0; i < n / 2; ++i) {
        const double one = weight(j, i), mirrored = weight(j, n - 1 - i);
        even.push_back((one + mirrored) / 2);
        if (j < m / 2) odd.push_back((one - mirrored) / 2);
      }
      // The sample in the middle is its own mirror image.
      if (n % 2 == 1) even.push_back(weight(j, n / 2));
    }
    return {{(m + 1) / 2, (n + 1) / 2, even}, {m / 2, n / 2, odd}};
  }
};

struct Split {
  template <typename V>
  MDR_KERNEL run(const float* in, int n, float* even, float* odd) {
    for (int i = 0; i < n / 2; ++i) {
      const V *one = lanes_at<V>(in, i), *other = lanes_at<V>(in, n - 1 - i);
      for (int p = 0; p < lane_parts<V>; ++p) {
        lanes_at<V>(even, i)[p] = one[p] + other[p];
        lanes_at<V>(odd, i)[p] = one[p] - other[p];
      }
    }
    if (n % 2 == 0) return;
    for (int p = 0; p < lane_parts<V>; ++p) lanes_at<V>(even, n / 2)[p] = lanes_at<V>(in, n / 2)[p];
  }
};

struct Join {
  template <typename V>
  MDR_KERNEL run(const float* even, const float* odd, int m, float* out) {
    for (int j = 0; j < m / 2; ++j) {
      const V *one = lanes_at<V>(even, j), *other = lanes_at<V>(odd, j);
      for (int p = 0; p < lane_parts<V>; ++p) {
        lanes_at<V>(out, j)[p] = one[p] + other[p];
        lanes_at<V>(out, m - 1 - j)[p] = one[p] - other[p];
      }
    }
    if (m % 2 == 0) return;
    for (int p = 0; p < lane_parts<V>; ++p)
      lanes_at<V>(out, m / 2)[p] = lanes_at<V>(even, m / 2)[p];
  }
};

class KspaceLines : public AxisResampler {
 public:
  template <typename Weight>
  KspaceLines(int from, int to, const Weight& weight)
      : AxisResampler(from, to), halves_(Halves::of(from, to, weight)) {}

  int64_t scratch() const override {
    return kLanes * (from() + 1 + halves_.even.rows_written() + halves_.odd.rows_written());
  }

  void run(float* in, float* out, float* scratch) const override {
    const Vectors vectors = widest_vectors();
    float* even_in = scratch;
    float* odd_in = even_in + kLanes * ((from() + 1) / 2);
    float* even_out = odd_in + kLanes * ((from() + 1) / 2);
    float* odd_out = even_out + kLanes * halves_.even.rows_written();
    run_kernel<Split>(vectors, in, from(), even_in, odd_in);
    halves_.even.run(even_in, even_out, vectors);
    halves_.odd.run(odd_in, odd_out, vectors);
    run_kernel<Join>(vectors, even_out, odd_out, to(), out);
  }

 private:
  Halves halves_;
};

}  // namespace

std::unique_ptr<AxisResampler> kspace_band(int from, int to) {
  return std::make_unique<KspaceLines>(
      from, to, [=](int64_t j, int64_t i) { return band_weight(j, to, i, from); });
}

std::unique_ptr<AxisResampler> kspace_gains(const std::vector<double>& gains) {
  const int n = static_cast<int>(gains.size());
  return std::make_unique<KspaceLines>(n, n, GainWeights(gains));
}

}  // namespace mdr
