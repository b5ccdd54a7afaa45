#include "backends/cpu_precision.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mdr {

#if defined(__x86_64__)
namespace {

bool has_amx() {
  constexpr unsigned kFeatures = 7, kAmxBfloat16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) && (d & kAmxBfloat16);
}

}  // namespace

bool bfloat16_is_faster() { return has_amx() || __builtin_cpu_is("amd"); }
bool has_int8_products() { return __builtin_cpu_supports("avx512vnni"); }
bool int8_is_faster() { return has_int8_products() && !has_amx(); }
#else
bool bfloat16_is_faster() { return true; }
bool has_int8_products() { return false; }
bool int8_is_faster() { return false; }
#endif

}  // namespace mdr
