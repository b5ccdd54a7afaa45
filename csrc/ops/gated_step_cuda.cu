#include "ops/cuda_cells.cuh"
#include "ops/cuda_latent.cuh"
#include "ops/cuda_launch.cuh"
#include "ops/gated_step.h"

namespace mdr {
namespace {

// Gates of neighbouring cells; 0 for experts that were skipped or are not there.
template <int kExperts, int kCells>
__device__ __forceinline__ void cell_gates(const GatedStepShape& shape, const float* gates,
                                           const int (&slots)[kExperts], const GateSample& y, int x,
                                           float (&out)[kExperts][kCells]) {
  const int64_t map = int64_t{shape.gate_height} * shape.gate_width;
#pragma unroll
  for (int c = 0; c < kCells; ++c) {
    const GateSample at = gate_sample(x + c, shape.width, shape.gate_width);
#pragma unroll
    for (int i = 0; i < kExperts; ++i) {
      out[i][c] = slots[i] < 0 ? 0.0f : gate_at(gates + i * map, shape.gate_width, y, at);
    }
  }
}

template <typename T, int kExperts, int kCells>
__device__ __forceinline__ void cell_experts(const GatedStepDeviceBatch& batch,
                                             const int (&slots)[kExperts], int64_t size,
                                             int64_t within, Cells<kCells> (&out)[kExperts]) {
#pragma unroll
  for (int i = 0; i < kExperts; ++i) {
    out[i] = {};
    if (slots[i] < 0) continue;
    out[i] = load_cells<kCells>(static_cast<const T*>(batch.experts[i]) + slots[i] * size + within);
  }
}

// kExperts is the most that this instance can take: those past shape.experts count as skipped. The
// bounds are what it needs on every target without a spill, and leave more loads under way than
// memory takes.
template <typename T, int kExperts, int kCells>
__global__ void __launch_bounds__(kLatentThreads, kExperts <= 3 ? 5 : 2)
    gated_step_kernel(GatedStepShape shape, GatedStepScalars scalars, GatedStepDeviceBatch batch) {
  const LatentPlace place = latent_place();
  if (place.y >= shape.height || place.channel >= shape.channels) return;
  const int64_t plane = int64_t{shape.height} * shape.width;
  const int64_t size = shape.channels * plane;
  const int64_t row = place.channel * plane + int64_t{place.y} * shape.width;
  const int channels = min(kThreadChannels, shape.channels - place.channel);
  const float* tile_gates =
      batch.gates + int64_t{place.tile} * shape.experts * shape.gate_height * shape.gate_width;
  int slots[kExperts];
  load_slots(batch.slots, place.tile, shape.experts, slots);
  const GateSample y = gate_sample(place.y, shape.height, shape.gate_height);
  const bool noisy = scalars.c_n != 0.0f;
  const bool second_order = batch.z0_prev && scalars.c_1 != 0.0f;

  for (int x = threadIdx.x * kCells; x < shape.width; x += blockDim.x * kCells) {
    float gates[kExperts][kCells];
    cell_gates(shape, tile_gates, slots, y, x, gates);
    Normal4 noise[kCells] = {};
    if (noisy) {
      cell_normals(scalars.seed, scalars.noise_index, batch.origins[place.tile], place, x, noise);
    }
#pragma unroll 1
    for (int c = 0; c < channels; ++c) {
      const int64_t within = row + c * plane + x;
      const int64_t at = place.tile * size + within;
      Cells<kCells> experts[kExperts], z0_prev = {}, z_s, z0;
      const Cells<kCells> z_t = load_cells<kCells>(batch.z_t + at);
      cell_experts<T>(batch, slots, size, within, experts);
      if (second_order) z0_prev = load_cells<kCells>(batch.z0_prev + at);
#pragma unroll
      for (int k = 0; k < kCells; ++k) {
        const GatedElement out = gated_element(
            kExperts, [&](int i) { return experts[i].at[k]; }, [&](int i) { return gates[i][k]; },
            z_t.at[k], z0_prev.at[k], normal_of(noise[k], c), scalars);
        z_s.at[k] = out.z_s;
        z0.at[k] = out.z0;
      }
      store_cells(z_s, batch.z_s + at);
      store_cells(z0, batch.z0 + at);
      store_expert_cells<T>(z_s, slots, size, within, batch.expert_z);
    }
  }
}

template <typename T, int kExperts>
void gated_step_of(const GatedStepShape& shape, const GatedStepScalars& scalars,
                   const GatedStepDeviceBatch& batch, void* stream) {
  const bool four = shape.width % 4 == 0 && fits_four(batch.z_t, sizeof(float)) &&
                    fits_four(batch.z0_prev, sizeof(float)) &&
                    fits_four(batch.z_s, sizeof(float)) && fits_four(batch.z0, sizeof(float)) &&
                    fits_four(batch.experts, sizeof(T)) && fits_four(batch.expert_z, sizeof(T));
  const LatentLaunch on =
      latent_launch(batch.tiles, shape.channels, shape.height, shape.width, four ? 4 : 1);
  launch("gated_step", four ? gated_step_kernel<T, kExperts, 4> : gated_step_kernel<T, kExperts, 1>,
         on.grid, on.block, stream, shape, scalars, batch);
}

// Three experts are the paper's; room for more would cost them registers and instructions.
template <typename T>
void gated_step_of(const GatedStepShape& shape, const GatedStepScalars& scalars,
                   const GatedStepDeviceBatch& batch, void* stream) {
  if (shape.experts <= 3) return gated_step_of<T, 3>(shape, scalars, batch, stream);
  gated_step_of<T, kMaxExperts>(shape, scalars, batch, stream);
}

}  // namespace

void gated_step_cuda(const GatedStepShape& shape, const GatedStepScalars& scalars,
                     const GatedStepDeviceBatch& batch, void* stream) {
  switch (batch.type) {
    case ExpertType::float32:
      return gated_step_of<float>(shape, scalars, batch, stream);
    case ExpertType::float16:
      return gated_step_of<__half>(shape, scalars, batch, stream);
    case ExpertType::bfloat16:
      return gated_step_of<__nv_bfloat16>(shape, scalars, batch, stream);
  }
}

}  // namespace mdr
