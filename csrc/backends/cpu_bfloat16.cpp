#include "backends/cpu_bfloat16.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mdr {

#if defined(__x86_64__)
bool bfloat16_is_faster() {
  constexpr unsigned kFeatures = 7, kAmxBfloat16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) && (d & kAmxBfloat16)) return true;
  return __builtin_cpu_is("amd");
}
#else
bool bfloat16_is_faster() { return true; }
#endif

}  // namespace mdr
