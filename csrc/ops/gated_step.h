#pragma once

#include <cstdint>

#include "ops/annotate.h"
#include "ops/experts.h"
#include "ops/noise.h"

namespace mdr {

struct GatedStepShape {
  int channels = 0, height = 0, width = 0;
  int experts = 0, gate_height = 0, gate_width = 0;
};

struct GatedStepScalars {
  float c_z = 0, c_0 = 0, c_1 = 0, c_n = 0;
  uint64_t seed = 0;
  int noise_index = 0;
};

// Bilinear sample positions along one axis: half-pixel centres, clamped at the edges.
struct GateSample {
  int low, high;
  float weight;  // of `high`
};

MDR_HD GateSample gate_sample(int i, int size, int gate_size) {
  const float at =
      (static_cast<float>(i) + 0.5f) * static_cast<float>(gate_size) / static_cast<float>(size) -
      0.5f;
  const float inside = at > 0.0f ? at : 0.0f;
  const int low =
      static_cast<int>(inside) < gate_size - 1 ? static_cast<int>(inside) : gate_size - 1;
  const int high = low + 1 < gate_size ? low + 1 : low;
  return {low, high, inside - static_cast<float>(low)};
}

// Between two samples, `weight` of the way to the second.
MDR_HD float gate_between(float low, float high, float weight) {
  return (1.0f - weight) * low + weight * high;
}

// Along x in both rows, then between them: whoever computes a gate keeps to this order, or its bits
// differ.
MDR_HD float gate_at(const float* gate, int gate_width, const GateSample& y, const GateSample& x) {
  const int low = y.low * gate_width, high = y.high * gate_width;
  return gate_between(gate_between(gate[low + x.low], gate[low + x.high], x.weight),
                      gate_between(gate[high + x.low], gate[high + x.high], x.weight), y.weight);
}

struct GatedElement {
  float z_s, z0;
};

// One latent value: z0 = sum_i g_i z0_i; z_s = c_z z_t + c_0 z0 + c_1 z0_prev + c_n n.
// expert(i) and gate(i) give z0_i and g_i of expert i here.
template <typename Expert, typename Gate>
MDR_HD GatedElement gated_element(int experts, Expert expert, Gate gate, float z_t, float z0_prev,
                                  float noise, const GatedStepScalars& c) {
  float z0 = 0.0f;
  for (int i = 0; i < experts; ++i) z0 += gate(i) * expert(i);
  return {c.c_z * z_t + c.c_0 * z0 + c.c_1 * z0_prev + c.c_n * noise, z0};
}

// One tile on the CPU. `experts[i]` is (channels, height, width), `gates[i]` (gate_height,
// gate_width). `z0_prev` may be null when c_1 is 0. `z_s` may be `z_t`, and `z0` may be `z0_prev`.
void gated_step_cpu(const GatedStepShape& shape, const GatedStepScalars& scalars,
                    const NoiseOrigin& origin, const float* z_t, const float* const* experts,
                    const float* const* gates, const float* z0_prev, float* z_s, float* z0);

// A batch of tiles in device memory. Expert i's outputs lie in a batch of their own, with rows as
// in ops/gather_rows.h; they are read in place, and no pointer but z_s = z_t and z0 = z0_prev may
// overlap another. `expert_z[i]`, where it is not null, also takes z_s in `type`, as expert i's
// batch has its rows; experts that share a batch need it in one of them.
struct GatedStepDeviceBatch {
  int tiles = 0;
  ExpertType type = ExpertType::float32;  // of `experts` and `expert_z`
  const float* z_t = nullptr;
  const void* experts[kMaxExperts] = {};
  const int* slots = nullptr;
  const float* gates = nullptr;  // (tiles, experts, gate_height, gate_width)
  const float* z0_prev = nullptr;
  const NoiseOrigin* origins = nullptr;
  float* z_s = nullptr;
  float* z0 = nullptr;
  void* expert_z[kMaxExperts] = {};
};

// Queues the op on `stream` (a cudaStream_t). Throws Error(ErrorKind::backend) when the launch
// fails or this build has no CUDA.
void gated_step_cuda(const GatedStepShape& shape, const GatedStepScalars& scalars,
                     const GatedStepDeviceBatch& batch, void* stream);

}  // namespace mdr
