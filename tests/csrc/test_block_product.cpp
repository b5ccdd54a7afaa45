#include <cmath>
#include <vector>

#include "claim.h"
#include "core/axis_resampler.h"
#include "core/block_product.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

std::vector<float> lines(int samples) {
  std::vector<float> out(samples * kLanes);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(std::sin(1.7 * i * i));
  return out;
}

std::vector<Vectors> usable() {
  std::vector<Vectors> kinds{Vectors::plain};
  if (widest_vectors() != Vectors::plain) kinds.push_back(Vectors::avx2);
  if (widest_vectors() == Vectors::avx512) kinds.push_back(Vectors::avx512);
  return kinds;
}

const Claim product("a block product is the plain sum, the same bits with any vectors", [] {
  for (const int rows : {1, 2, 4, 7, 12}) {
    for (const int columns : {1, 3, 50}) {
      std::vector<double> matrix(rows * columns);
      for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = std::cos(0.9 * i * i);
      const BlockProduct product(rows, columns, matrix);
      const std::vector<float> in = lines(columns);
      std::vector<float> first;
      for (const Vectors vectors : usable()) {
        std::vector<float> out(product.rows_written() * kLanes);
        product.run(in.data(), out.data(), vectors);
        for (int row = 0; row < rows; ++row) {
          for (int l = 0; l < kLanes; ++l) {
            double sum = 0;
            for (int i = 0; i < columns; ++i) {
              sum += matrix[row * columns + i] * in[i * kLanes + l];
            }
            const double error = std::abs(out[row * kLanes + l] - sum);
            check(error < 1e-6 * columns, name_of(vectors), " is off by ", error);
          }
        }
        if (first.empty()) first = out;
        check(out == first, name_of(vectors), " gives other bits");
      }
    }
  }
});

const Claim lanes("a line's result does not depend on the lines beside it", [] {
  for (const auto& make : {cubic_spline, kspace_band}) {
    for (const auto& [from, to] : {std::pair{1, 5}, {5, 1}, {3, 3}, {20, 33}, {31, 12}}) {
      const auto axis = make(from, to);
      std::vector<float> scratch(axis->scratch());
      std::vector<float> in = lines(from), alone(in.size());
      for (int i = 0; i < from; ++i) alone[i * kLanes + 3] = in[i * kLanes + 3];
      std::vector<float> together(to * kLanes), apart(to * kLanes);
      axis->run(in.data(), together.data(), scratch.data());
      axis->run(alone.data(), apart.data(), scratch.data());
      for (int j = 0; j < to; ++j) {
        equal(apart[j * kLanes + 3], together[j * kLanes + 3]);
        equal(apart[j * kLanes + 4], 0.0f);
      }
    }
  }
});

}  // namespace
