#pragma once

#include <cstdint>

#include "ops/annotate.h"
#include "ops/experts.h"
#include "ops/noise.h"

namespace mdr {

struct LatentShape {
  int channels = 0, height = 0, width = 0;
};

struct StartScalars {
  float signal = 0, spread = 1;
  uint64_t seed = 0;
};

// The state from which sampling starts: the low-field latent, noised to the start timestep
// (Song et al. 2021, eq. 4: signal = sqrt(alpha), spread = sqrt(1 - alpha)).
MDR_HD float start_value(float z_low, float noise, const StartScalars& c) {
  return c.signal * z_low + c.spread * noise;
}

// One tile on the CPU, (channels, height, width). `z` may be `z_low`; without `z_low` (null) the
// start is the noise itself.
void start_latent_cpu(const LatentShape& shape, const StartScalars& scalars,
                      const NoiseOrigin& origin, const float* z_low, float* z);

// A batch of tiles in device memory. `expert_z[i]`, where it is not null, also takes the start in
// `type`, as expert i's batch has its rows; experts that share a batch need it in one of them.
struct StartLatentDeviceBatch {
  int tiles = 0, experts = 0;
  ExpertType type = ExpertType::float32;
  const float* z_low = nullptr;
  const NoiseOrigin* origins = nullptr;
  const int* slots = nullptr;  // as in ops/gather_rows.h
  float* z = nullptr;
  void* expert_z[kMaxExperts] = {};
};

// Queues the op on `stream` (a cudaStream_t). Throws Error(ErrorKind::backend) when the launch
// fails or this build has no CUDA.
void start_latent_cuda(const LatentShape& shape, const StartScalars& scalars,
                       const StartLatentDeviceBatch& batch, void* stream);

}  // namespace mdr
