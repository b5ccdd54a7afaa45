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
  std::vector<float> gate_rows(static_cast<size_t>(shape.experts) * width);
  std::vector<GateSample> xs;
  for (int x = 0; x < width; ++x) xs.push_back(gate_sample(x, width, shape.gate_width));
  for (int y = 0; y < shape.height; ++y) {
    const GateSample sy = gate_sample(y, shape.height, shape.gate_height);
    for (int i = 0; i < shape.experts; ++i) {
      for (int x = 0; x < width; ++x) {
        gate_rows[i * width + x] = gate_at(gates[i], shape.gate_width, sy, xs[x]);
      }
    }
    for (int c = 0; c < shape.channels; ++c) {
      const int64_t at = c * plane + int64_t{y} * width;
      Row row{z_t + at,
              z0_prev && scalars.c_1 != 0.0f ? z0_prev + at : zeros.data(),
              noise.empty() ? zeros.data() : noise.data() + at,
              {},
              gate_rows.data(),
              z_s + at,
              z0 + at};
      for (int i = 0; i < shape.experts; ++i) row.experts[i] = experts[i] + at;
      step_row_of(shape.experts, row, width, scalars);
    }
  }
}

}  // namespace mdr
