#include <vector>

#include "ops/start_latent.h"

namespace mdr {
namespace {

MDR_CLONES void start(const float* z_low, const float* noise, const StartScalars& scalars,
                      int64_t count, float* z) {
  const StartScalars c = scalars;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) z[i] = start_value(z_low[i], noise[i], c);
}

}  // namespace

void start_latent_cpu(const LatentShape& shape, const StartScalars& scalars,
                      const NoiseOrigin& origin, const float* z_low, float* z) {
  const int64_t count = int64_t{shape.channels} * shape.height * shape.width;
  std::vector<float> noise(z_low ? count : 0);
  normal_cpu(scalars.seed, 0, origin, shape.channels, shape.height, shape.width,
             z_low ? noise.data() : z);
  if (z_low) start(z_low, noise.data(), scalars, count, z);
}

}  // namespace mdr
