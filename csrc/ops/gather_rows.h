#pragma once

#include <cstdint>

#include "ops/experts.h"

namespace mdr {

// Each expert has a batch of its own with only the tiles that it runs for: tile b is row
// slots[b * experts + i] of expert i's batch, or is not in it when that is negative.

// Puts rows of `from` (tiles, row) where the experts' batches have them. Where to[i] is null,
// nothing is put for expert i.
void gather_rows_cpu(int tiles, int experts, const int* slots, int64_t row, const float* from,
                     float* const* to);

// The same in device memory, with rows of `row` elements of `type`.
struct GatherRowsDeviceBatch {
  int tiles = 0, experts = 0;
  ExpertType type = ExpertType::float32;
  int64_t row = 0;
  const int* slots = nullptr;
  const void* from = nullptr;
  void* to[kMaxExperts] = {};
};

// Queues the op on `stream` (a cudaStream_t). Throws Error(ErrorKind::backend) when the launch
// fails or this build has no CUDA.
void gather_rows_cuda(const GatherRowsDeviceBatch& batch, void* stream);

}  // namespace mdr
