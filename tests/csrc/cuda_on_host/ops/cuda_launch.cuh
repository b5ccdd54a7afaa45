#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <type_traits>

// Stands in for csrc/ops/cuda_launch.cuh where a test compiles the kernels for the CPU: it runs
// them one thread after the other. No kernel uses shared memory or barriers, so that is all it
// takes. Include it before the .cu files.
#define __launch_bounds__(...)
inline dim3 gridDim, blockDim;
inline uint3 blockIdx, threadIdx;

namespace mdr {

using std::min;

// The last thread first, to show that no result depends on who comes first.
inline bool backwards = false;

inline uint3 place_of(unsigned i, const dim3& size) {
  const unsigned count = size.x * size.y * size.z;
  const unsigned at = backwards ? count - 1 - i : i;
  return {at % size.x, at / size.x % size.y, at / (size.x * size.y)};
}

template <typename... Parameters>
void launch(const char*, void (*kernel)(Parameters...), dim3 grid, dim3 block, void*,
            std::common_type_t<Parameters>... parameters) {
  gridDim = grid;
  blockDim = block;
  for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
    blockIdx = place_of(b, grid);
    for (unsigned t = 0; t < block.x * block.y * block.z; ++t) {
      threadIdx = place_of(t, block);
      kernel(parameters...);
    }
  }
}

}  // namespace mdr
