#pragma once

#include <cstddef>

namespace mdr {

// Lines that are computed together, one beside the other: sample i of all of them is kLanes floats.
constexpr int kLanes = 16;

// What one instruction works on. Which kind is chosen changes no bit of a result: lanes never mix,
// and no multiply-add is fused.
enum class Vectors { plain, avx2, avx512 };

constexpr const char* name_of(Vectors vectors) {
  return vectors == Vectors::avx512 ? "avx512" : vectors == Vectors::avx2 ? "avx2" : "plain";
}

using Vector4 = float __attribute__((vector_size(16), aligned(4), may_alias));
using Vector8 = float __attribute__((vector_size(32), aligned(4), may_alias));
using Vector16 = float __attribute__((vector_size(64), aligned(4), may_alias));

// A kernel is a type with a function template run<V>(arguments), marked MDR_KERNEL, which takes
// kLanes lanes as lane_parts<V> vectors of type V.
#define MDR_KERNEL static inline __attribute__((always_inline)) void
template <typename V>
constexpr int lane_parts = kLanes * sizeof(float) / sizeof(V);

// Sample i.
template <typename V>
inline __attribute__((always_inline)) V* lanes_at(float* lines, ptrdiff_t i) {
  return reinterpret_cast<V*>(lines + i * kLanes);
}
template <typename V>
inline __attribute__((always_inline)) const V* lanes_at(const float* lines, ptrdiff_t i) {
  return reinterpret_cast<const V*>(lines + i * kLanes);
}

#if defined(__x86_64__)
template <typename Kernel, typename... Arguments>
__attribute__((target("avx512f"))) void run_avx512(Arguments... arguments) {
  Kernel::template run<Vector16>(arguments...);
}
template <typename Kernel, typename... Arguments>
__attribute__((target("avx2"))) void run_avx2(Arguments... arguments) {
  Kernel::template run<Vector8>(arguments...);
}
inline Vectors widest_vectors() {
  static const Vectors widest = __builtin_cpu_supports("avx512f") ? Vectors::avx512
                                : __builtin_cpu_supports("avx2")  ? Vectors::avx2
                                                                  : Vectors::plain;
  return widest;
}
#else
inline Vectors widest_vectors() { return Vectors::plain; }
#endif

// Runs a kernel; arguments are pointers and numbers, passed as they are.
template <typename Kernel, typename... Arguments>
void run_kernel(Vectors vectors, Arguments... arguments) {
#if defined(__x86_64__)
  if (vectors == Vectors::avx512) return run_avx512<Kernel>(arguments...);
  if (vectors == Vectors::avx2) return run_avx2<Kernel>(arguments...);
#endif
  Kernel::template run<Vector4>(arguments...);
}

}  // namespace mdr
