#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "ops/experts.h"

namespace mdr {

// A few neighbouring values of any type, moved as one access and computed with in float32. Four
// float32 are 16 bytes.
template <int kCells>
struct Cells {
  float at[kCells];
};

template <typename T, int kCells>
struct alignas(sizeof(T) * kCells) PackedCells {
  T at[kCells];
};

__device__ __forceinline__ float as_float(float value) { return value; }
__device__ __forceinline__ float as_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float as_float(__nv_bfloat16 value) { return __bfloat162float(value); }

// Rounds to nearest even.
__device__ __forceinline__ void assign(float& to, float value) { to = value; }
__device__ __forceinline__ void assign(__half& to, float value) { to = __float2half_rn(value); }
__device__ __forceinline__ void assign(__nv_bfloat16& to, float value) {
  to = __float2bfloat16_rn(value);
}

template <int kCells, typename T>
__device__ __forceinline__ Cells<kCells> load_cells(const T* from) {
  const auto packed = *reinterpret_cast<const PackedCells<T, kCells>*>(from);
  Cells<kCells> out;
#pragma unroll
  for (int i = 0; i < kCells; ++i) out.at[i] = as_float(packed.at[i]);
  return out;
}

template <int kCells, typename T>
__device__ __forceinline__ void store_cells(const Cells<kCells>& values, T* to) {
  PackedCells<T, kCells> packed;
#pragma unroll
  for (int i = 0; i < kCells; ++i) assign(packed.at[i], values.at[i]);
  *reinterpret_cast<PackedCells<T, kCells>*>(to) = packed;
}

// Whether four values of `bytes` each can be one access here (a null pointer always can).
inline bool fits_four(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % (4 * bytes) == 0;
}

inline bool fits_four(const void* const (&pointers)[kMaxExperts], int64_t bytes) {
  for (const void* pointer : pointers) {
    if (!fits_four(pointer, bytes)) return false;
  }
  return true;
}

// Writes one tile's values at `within` (an offset in a tile of `size`) to the row that the tile has
// in each expert's batch.
template <typename T, int kExperts, int kCells>
__device__ __forceinline__ void store_expert_cells(const Cells<kCells>& values,
                                                   const int (&slots)[kExperts], int64_t size,
                                                   int64_t within,
                                                   void* const (&batches)[kMaxExperts]) {
#pragma unroll
  for (int i = 0; i < kExperts; ++i) {
    if (slots[i] < 0 || !batches[i]) continue;
    store_cells(values, static_cast<T*>(batches[i]) + slots[i] * size + within);
  }
}

// The rows of one tile, -1 where an expert skips it or is not there.
template <int kExperts>
__device__ __forceinline__ void load_slots(const int* slots, int tile, int experts,
                                           int (&out)[kExperts]) {
#pragma unroll
  for (int i = 0; i < kExperts; ++i) out[i] = i < experts ? slots[tile * experts + i] : -1;
}

}  // namespace mdr
