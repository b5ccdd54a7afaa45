#include <algorithm>

#include "ops/cuda_cells.cuh"
#include "ops/cuda_launch.cuh"
#include "ops/gather_rows.h"

namespace mdr {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 64;  // of a row; more tiles fill the device better than more blocks

// `Unit` is what one access moves, `units` how many a row has.
template <typename Unit>
__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(GatherRowsDeviceBatch batch, int64_t units) {
  const int tile = blockIdx.y;
  int slots[kMaxExperts];
  load_slots(batch.slots, tile, batch.experts, slots);
  const Unit* from = static_cast<const Unit*>(batch.from) + tile * units;
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x; at < units; at += stride) {
    const Unit value = from[at];
#pragma unroll
    for (int i = 0; i < kMaxExperts; ++i) {
      if (slots[i] < 0 || !batch.to[i]) continue;
      static_cast<Unit*>(batch.to[i])[slots[i] * units + at] = value;
    }
  }
}

template <typename Unit>
void gather_rows_of(const GatherRowsDeviceBatch& batch, int64_t row_bytes, void* stream) {
  const int64_t units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t blocks = std::min((units + kThreads - 1) / kThreads, kMostBlocks);
  launch("gather_rows", gather_rows_kernel<Unit>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(batch.tiles)), dim3(kThreads),
         stream, batch, units);
}

}  // namespace

void gather_rows_cuda(const GatherRowsDeviceBatch& batch, void* stream) {
  const int64_t row_bytes = batch.row * bytes_of(batch.type);
  constexpr int64_t kValue = sizeof(uint4) / 4;
  if (row_bytes % sizeof(uint4) == 0 && fits_four(batch.from, kValue) &&
      fits_four(batch.to, kValue)) {
    return gather_rows_of<uint4>(batch, row_bytes, stream);
  }
  gather_rows_of<uint16_t>(batch, row_bytes, stream);
}

}  // namespace mdr
