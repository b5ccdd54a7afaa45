#include "ops/cuda_cells.cuh"
#include "ops/cuda_latent.cuh"
#include "ops/cuda_launch.cuh"
#include "ops/start_latent.h"

namespace mdr {
namespace {

template <typename T, int kCells>
__global__ void __launch_bounds__(kLatentThreads)
    start_latent_kernel(LatentShape shape, StartScalars scalars, StartLatentDeviceBatch batch) {
  const LatentPlace place = latent_place();
  if (place.y >= shape.height || place.channel >= shape.channels) return;
  const int64_t plane = int64_t{shape.height} * shape.width;
  const int64_t size = shape.channels * plane;
  const int64_t row = place.channel * plane + int64_t{place.y} * shape.width;
  const int channels = min(kThreadChannels, shape.channels - place.channel);
  int slots[kMaxExperts];
  load_slots(batch.slots, place.tile, batch.experts, slots);
  const NoiseOrigin origin = batch.origins[place.tile];
  for (int x = threadIdx.x * kCells; x < shape.width; x += blockDim.x * kCells) {
    Normal4 noise[kCells];
    cell_normals(scalars.seed, 0, origin, place, x, noise);
#pragma unroll 1
    for (int c = 0; c < channels; ++c) {
      const int64_t within = row + c * plane + x;
      const int64_t at = place.tile * size + within;
      Cells<kCells> z = {};
      if (batch.z_low) z = load_cells<kCells>(batch.z_low + at);
#pragma unroll
      for (int i = 0; i < kCells; ++i) {
        const float n = normal_of(noise[i], c);
        z.at[i] = batch.z_low ? start_value(z.at[i], n, scalars) : n;
      }
      store_cells(z, batch.z + at);
      store_expert_cells<T>(z, slots, size, within, batch.expert_z);
    }
  }
}

template <typename T>
void start_latent_of(const LatentShape& shape, const StartScalars& scalars,
                     const StartLatentDeviceBatch& batch, void* stream) {
  const bool four = shape.width % 4 == 0 && fits_four(batch.z_low, sizeof(float)) &&
                    fits_four(batch.z, sizeof(float)) && fits_four(batch.expert_z, sizeof(T));
  const LatentLaunch on =
      latent_launch(batch.tiles, shape.channels, shape.height, shape.width, four ? 4 : 1);
  launch("start_latent", four ? start_latent_kernel<T, 4> : start_latent_kernel<T, 1>, on.grid,
         on.block, stream, shape, scalars, batch);
}

}  // namespace

void start_latent_cuda(const LatentShape& shape, const StartScalars& scalars,
                       const StartLatentDeviceBatch& batch, void* stream) {
  switch (batch.type) {
    case ExpertType::float32:
      return start_latent_of<float>(shape, scalars, batch, stream);
    case ExpertType::float16:
      return start_latent_of<__half>(shape, scalars, batch, stream);
    case ExpertType::bfloat16:
      return start_latent_of<__nv_bfloat16>(shape, scalars, batch, stream);
  }
}

}  // namespace mdr
