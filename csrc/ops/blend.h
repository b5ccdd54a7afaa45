#pragma once

#include <cstdint>

#include "ops/annotate.h"

namespace mdr {

// Over how many voxels a tile's weight rises at its low end and falls at its high one; 0: it ends
// with its full weight.
struct Ramps {
  int low = 0, high = 0;
};

// Weight of voxel i of a tile along one axis.
MDR_HD float ramp_weight(int i, int tile, const Ramps& ramps) {
  float weight = 1.0f;
  if (ramps.low > 0) {
    const float low = (static_cast<float>(i) + 0.5f) / static_cast<float>(ramps.low);
    if (low < weight) weight = low;
  }
  if (ramps.high > 0) {
    const float high = (static_cast<float>(tile - i) - 0.5f) / static_cast<float>(ramps.high);
    if (high < weight) weight = high;
  }
  return weight;
}

MDR_HD float blend_weight(float weight_y, float weight_x) { return weight_y * weight_x; }

// The blended voxel: where tiles weigh less than 1, the input fills up.
MDR_HD float blend_voxel(float weighted_sum, float weight_sum, float input) {
  const float rest = 1.0f - weight_sum;
  const float most = weight_sum > 1.0f ? weight_sum : 1.0f;
  return (weighted_sum + (rest > 0.0f ? rest : 0.0f) * input) / most;
}

// sum += wy wx image, weight += wy wx over rows x columns. `image` rows are `image_stride` apart,
// `sum` and `weight` rows `stride`. `weight` may be null.
void blend_add_cpu(const float* image, int64_t image_stride, int rows, int columns,
                   const float* weight_y, const float* weight_x, int64_t stride, float* sum,
                   float* weight);

// out = blend_voxel(sum, weight, input) for `count` voxels; `out` may be `sum`.
void blend_finish_cpu(const float* sum, const float* weight, const float* input, int64_t count,
                      float* out);

// A tile of a batch: its first voxel and its ramps, and which slice of the sums is its own (-1: a
// tile that pads the batch, left out).
struct BlendTile {
  int slice = -1, y = 0, x = 0;
  Ramps ramps_y, ramps_x;
};

struct BlendShape {
  int ny = 0, nx = 0;  // of a slice
  int tile_height = 0, tile_width = 0;
};

// A batch of tiles in device memory. Tiles of one slice must follow each other; they are added in
// their order, whatever the device does first, so the sums have the bits of the CPU.
struct BlendDeviceBatch {
  int tiles = 0;
  const float* images = nullptr;  // (tiles, tile_height, tile_width)
  const BlendTile* places = nullptr;
  float* sum = nullptr;  // (slices, ny, nx)
  float* weight = nullptr;
};

// Both queue the op on `stream` (a cudaStream_t) and throw Error(ErrorKind::backend) when the
// launch fails or this build has no CUDA. All pointers are to device memory.
void blend_add_cuda(const BlendShape& shape, const BlendDeviceBatch& batch, void* stream);
void blend_finish_cuda(const float* sum, const float* weight, const float* input, int64_t count,
                       float* out, void* stream);

}  // namespace mdr
