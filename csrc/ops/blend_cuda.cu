#include <algorithm>

#include "ops/blend.h"
#include "ops/cuda_cells.cuh"
#include "ops/cuda_launch.cuh"

namespace mdr {
namespace {

constexpr int kColumns = 32, kRows = 8;
constexpr int kFinishThreads = 256;
constexpr int64_t kMostFinishBlocks = 4096;

__device__ __forceinline__ bool covers(const BlendShape& shape, const BlendTile& tile, int y,
                                       int x) {
  return y >= tile.y && y < tile.y + shape.tile_height && x >= tile.x &&
         x < tile.x + shape.tile_width;
}

// Adds to one voxel what `tile` has for it.
__device__ __forceinline__ void add_tile(const BlendShape& shape, const BlendTile& tile,
                                         const float* image, int y, int x, float& sum,
                                         float& weight) {
  const int row = y - tile.y, column = x - tile.x;
  const float share = blend_weight(ramp_weight(row, shape.tile_height, tile.ramps_y),
                                   ramp_weight(column, shape.tile_width, tile.ramps_x));
  sum += share * image[int64_t{row} * shape.tile_width + column];
  weight += share;
}

// A thread per voxel of each tile. The first tile of the batch that covers a voxel adds every tile
// there, in their order: no two threads write one voxel, and the order of additions is fixed. Rows
// of a volume start at any address, so accesses are of one voxel, neighbours together.
__global__ void __launch_bounds__(kColumns* kRows)
    blend_add_kernel(BlendShape shape, BlendDeviceBatch batch) {
  const int first = blockIdx.z;
  const BlendTile own = batch.places[first];
  const int y = own.y + static_cast<int>(blockIdx.y * kRows + threadIdx.y);
  const int x = own.x + static_cast<int>(blockIdx.x * kColumns + threadIdx.x);
  if (own.slice < 0 || y >= shape.ny || x >= shape.nx || !covers(shape, own, y, x)) return;
  for (int b = first - 1; b >= 0 && batch.places[b].slice == own.slice; --b) {
    if (covers(shape, batch.places[b], y, x)) return;
  }
  const int64_t at = (int64_t{own.slice} * shape.ny + y) * shape.nx + x;
  const int64_t size = int64_t{shape.tile_height} * shape.tile_width;
  float sum = batch.sum[at], weight = batch.weight[at];
  for (int b = first; b < batch.tiles; ++b) {
    const BlendTile tile = batch.places[b];
    if (tile.slice != own.slice) break;
    if (!covers(shape, tile, y, x)) continue;
    add_tile(shape, tile, batch.images + b * size, y, x, sum, weight);
  }
  batch.sum[at] = sum;
  batch.weight[at] = weight;
}

template <int kCells>
__global__ void __launch_bounds__(kFinishThreads)
    blend_finish_kernel(const float* sum, const float* weight, const float* input, int64_t count,
                        float* out) {
  const int64_t stride = int64_t{gridDim.x} * kFinishThreads * kCells;
  int64_t at = (int64_t{blockIdx.x} * kFinishThreads + threadIdx.x) * kCells;
  for (; at < count; at += stride) {
    const Cells<kCells> sums = load_cells<kCells>(sum + at),
                        weights = load_cells<kCells>(weight + at),
                        inputs = load_cells<kCells>(input + at);
    Cells<kCells> voxels;
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      voxels.at[i] = blend_voxel(sums.at[i], weights.at[i], inputs.at[i]);
    }
    store_cells(voxels, out + at);
  }
}

}  // namespace

void blend_add_cuda(const BlendShape& shape, const BlendDeviceBatch& batch, void* stream) {
  const dim3 grid(static_cast<unsigned>((shape.tile_width + kColumns - 1) / kColumns),
                  static_cast<unsigned>((shape.tile_height + kRows - 1) / kRows),
                  static_cast<unsigned>(batch.tiles));
  launch("blend_add", blend_add_kernel, grid, dim3(kColumns, kRows), stream, shape, batch);
}

void blend_finish_cuda(const float* sum, const float* weight, const float* input, int64_t count,
                       float* out, void* stream) {
  const bool four = count % 4 == 0 && fits_four(sum, sizeof(float)) &&
                    fits_four(weight, sizeof(float)) && fits_four(input, sizeof(float)) &&
                    fits_four(out, sizeof(float));
  const int64_t a_block = kFinishThreads * (four ? 4 : 1);
  const int64_t blocks = std::min((count + a_block - 1) / a_block, kMostFinishBlocks);
  launch("blend_finish", four ? blend_finish_kernel<4> : blend_finish_kernel<1>,
         dim3(static_cast<unsigned>(blocks)), dim3(kFinishThreads), stream, sum, weight, input,
         count, out);
}

}  // namespace mdr
