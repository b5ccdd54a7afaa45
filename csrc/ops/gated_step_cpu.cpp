#include <array>
#include <vector>

#include "ops/gated_step.h"

namespace mdr {
namespace {

struct Row {
  const float* z_t;
  const float* z0_prev;
  const float* noise;
  std::array<const float*, kMaxExperts> experts;
  const float* gates;  // (experts, width)
  float* z_s;
  float* z0;
};

template <int kExperts>
MDR_HD void step_row(const Row& row, int width, const GatedStepScalars& scalars) {
  const Row r = row;
  const GatedStepScalars c = scalars;
#pragma GCC ivdep
  for (int x = 0; x < width; ++x) {
    const GatedElement out = gated_element(
        kExperts, [&](int i) { return r.experts[i][x]; },
        [&](int i) { return r.gates[i * width + x]; }, r.z_t[x], r.z0_prev[x], r.noise[x], c);
    r.z_s[x] = out.z_s;
    r.z0[x] = out.z0;
  }
}

MDR_CLONES void step_row_of(int experts, const Row& row, int width, const GatedStepScalars& c) {
  switch (experts) {
    case 1:
      return step_row<1>(row, width, c);
    case 2:
      return step_row<2>(row, width, c);
    case 3:
      return step_row<3>(row, width, c);
    case 4:
      return step_row<4>(row, width, c);
    case 5:
      return step_row<5>(row, width, c);
    case 6:
      return step_row<6>(row, width, c);
    case 7:
      return step_row<7>(row, width, c);
    case 8:
      return step_row<8>(row, width, c);
  }
}

void spread_row(const float* gate, const int* low, const int* high, const float* weight, int width,
                float* to) {
#pragma GCC ivdep
  for (int x = 0; x < width; ++x) to[x] = gate_between(gate[low[x]], gate[high[x]], weight[x]);
}

MDR_CLONES void between_rows(const float* low, const float* high, float weight, int count,
                             float* to) {
#pragma GCC ivdep
  for (int x = 0; x < count; ++x) to[x] = gate_between(low[x], high[x], weight);
}

// The gates at one row after the other. Each row of a gate map is spread along x once, and serves
// all the rows between it and its neighbours.
class GateRows {
 public:
  GateRows(const GatedStepShape& shape, const float* const* gates)
      : shape_(shape), gates_(gates), low_(shape.width), high_(shape.width), weight_(shape.width) {
    for (int x = 0; x < shape.width; ++x) {
      const GateSample sample = gate_sample(x, shape.width, shape.gate_width);
      low_[x] = sample.low, high_[x] = sample.high, weight_[x] = sample.weight;
    }
    for (std::vector<float>* rows : {&spread_[0], &spread_[1], &found_}) {
      rows->resize(static_cast<size_t>(shape.experts) * shape.width);
    }
  }

  // Row y of every expert's gates, (experts, width), until the next call.
  const float* at(int y) {
    const GateSample sample = gate_sample(y, shape_.height, shape_.gate_height);
    const float *low = spread(sample.low), *high = spread(sample.high);
    between_rows(low, high, sample.weight, static_cast<int>(found_.size()), found_.data());
    return found_.data();
  }

 private:
  // Neighbours have a place each: one is even, the other odd.
  const float* spread(int row) {
    std::vector<float>& place = spread_[row % 2];
    if (rows_[row % 2] != row) {
      rows_[row % 2] = row;
      for (int i = 0; i < shape_.experts; ++i) {
        spread_row(gates_[i] + int64_t{row} * shape_.gate_width, low_.data(), high_.data(),
                   weight_.data(), shape_.width, place.data() + int64_t{i} * shape_.width);
      }
    }
    return place.data();
  }

  GatedStepShape shape_;
  const float* const* gates_;
  std::vector<int> low_, high_;  // of each x, as gate_sample has them
  std::vector<float> weight_;
  std::array<std::vector<float>, 2> spread_;
  std::array<int, 2> rows_{-1, -1};  // which are in `spread_`
  std::vector<float> found_;
};

}  // namespace

void gated_step_cpu(const GatedStepShape& shape, const GatedStepScalars& scalars,
                    const NoiseOrigin& origin, const float* z_t, const float* const* experts,
                    const float* const* gates, const float* z0_prev, float* z_s, float* z0) {
  const int width = shape.width;
  const int64_t plane = int64_t{shape.height} * width;
  std::vector<float> noise;
  if (scalars.c_n != 0.0f) {
    noise.resize(plane * shape.channels);
    normal_cpu(scalars.seed, scalars.noise_index, origin, shape.channels, shape.height, width,
               noise.data());
  }
  const std::vector<float> zeros(width);
  GateRows gate_rows(shape, gates);
  for (int y = 0; y < shape.height; ++y) {
    const float* row_gates = gate_rows.at(y);
    for (int c = 0; c < shape.channels; ++c) {
      const int64_t at = c * plane + int64_t{y} * width;
      Row row{z_t + at,
              z0_prev && scalars.c_1 != 0.0f ? z0_prev + at : zeros.data(),
              noise.empty() ? zeros.data() : noise.data() + at,
              {},
              row_gates,
              z_s + at,
              z0 + at};
      for (int i = 0; i < shape.experts; ++i) row.experts[i] = experts[i] + at;
      step_row_of(shape.experts, row, width, scalars);
    }
  }
}

}  // namespace mdr
