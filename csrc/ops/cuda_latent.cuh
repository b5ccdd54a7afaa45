#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>

#include "ops/noise.h"

namespace mdr {

// How the ops on latents (tiles, channels, height, width) are laid over a device. A thread takes a
// few neighbouring cells of one row in four channels: as many normals as one normal4() gives, and
// gates and weights found once for all four. Threads of a block lie along x first, then rows, then
// channels, so that small latents fill a block too and no thread divides to find its place.
constexpr int kLatentThreads = 128;
constexpr int kThreadChannels = 4;

struct LatentLaunch {
  dim3 grid, block;
};

inline LatentLaunch latent_launch(int tiles, int channels, int height, int width, int cells) {
  const auto power_of_two = [](int count, int most) {
    int power = 1;
    while (power < count && power < most) power *= 2;
    return power;
  };
  const auto blocks = [](int count, int size) {
    return static_cast<unsigned>((count + size - 1) / size);
  };
  constexpr int kMostAlongZ = 64;
  const int groups = static_cast<int>(blocks(channels, kThreadChannels));
  const int x = power_of_two(static_cast<int>(blocks(width, cells)), kLatentThreads);
  const int y = power_of_two(height, kLatentThreads / x);
  const int z = power_of_two(groups, std::min(kLatentThreads / (x * y), kMostAlongZ));
  return {dim3(blocks(height, y), blocks(groups, z), static_cast<unsigned>(tiles)), dim3(x, y, z)};
}

// A thread's first channel and row; it goes along x in strides of the block.
struct LatentPlace {
  int tile, channel, y;
};

__device__ __forceinline__ LatentPlace latent_place() {
  return {static_cast<int>(blockIdx.z),
          static_cast<int>(blockIdx.y * blockDim.z + threadIdx.z) * kThreadChannels,
          static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y)};
}

// The normals of neighbouring cells from x on, for four channels.
template <int kCells>
__device__ __forceinline__ void cell_normals(uint64_t seed, int noise_index,
                                             const NoiseOrigin& origin, const LatentPlace& place,
                                             int x, Normal4 (&out)[kCells]) {
#pragma unroll
  for (int i = 0; i < kCells; ++i) {
    out[i] =
        normal4(seed, noise_index, origin.x + x + i, origin.y + place.y, origin.z, place.channel);
  }
}

}  // namespace mdr
