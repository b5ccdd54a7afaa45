#include "bindings/device_memory.h"

#include "core/error.h"

namespace mdr::bindings {

ExpertType expert_type(const char* where, const std::string& name) {
  if (name == "float32") return ExpertType::float32;
  if (name == "float16") return ExpertType::float16;
  if (name == "bfloat16") return ExpertType::bfloat16;
  fail(ErrorKind::input, where, ": expected expert_type float32, float16 or bfloat16, found ", name,
       "; probably mistyped; give one of the three");
}

void check_experts(const char* where, size_t count) {
  if (count >= 1 && count <= kMaxExperts) return;
  fail(ErrorKind::input, where, ": expected 1 to ", kMaxExperts, " experts, found ", count,
       "; the list is probably of something else; give one entry per expert");
}

void check_address(const char* where, const char* name, DeviceAddress address) {
  if (address) return;
  fail(ErrorKind::input, where, ": expected the device address of ", name, ", found 0; ",
       "the array is probably empty; give one with elements");
}

void check_size(const char* where, const char* name, int64_t size) {
  if (size >= 1) return;
  fail(ErrorKind::input, where, ": expected a positive ", name, ", found ", size,
       "; the arrays are probably empty; give some with elements");
}

std::array<void*, kMaxExperts> expert_batches(const char* where, const char* name,
                                              const std::vector<DeviceAddress>& addresses,
                                              size_t count) {
  std::array<void*, kMaxExperts> batches{};
  if (addresses.empty()) return batches;
  if (addresses.size() != count) {
    fail(ErrorKind::input, where, ": expected ", name, " with one address for each of ", count,
         " experts, found ", addresses.size(), "; give 0 where an expert has none");
  }
  for (size_t i = 0; i < count; ++i) batches[i] = at<void>(addresses[i]);
  return batches;
}

}  // namespace mdr::bindings
