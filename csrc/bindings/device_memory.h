#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ops/experts.h"

namespace mdr::bindings {

// An address in device memory, as cupy.ndarray.data.ptr and torch.Tensor.data_ptr() give it; 0 is
// null. What lies there is the caller's word.
using DeviceAddress = uintptr_t;

template <typename T>
T* at(DeviceAddress address) {
  return reinterpret_cast<T*>(address);
}

// Each throws Error(ErrorKind::input) that names `where` and the argument.
ExpertType expert_type(const char* where, const std::string& name);
void check_experts(const char* where, size_t count);
void check_address(const char* where, const char* name, DeviceAddress address);
void check_size(const char* where, const char* name, int64_t size);

// Addresses of one batch per expert; 0 where an expert has none. Throws as above unless there are
// `count` of them, or none at all.
std::array<void*, kMaxExperts> expert_batches(const char* where, const char* name,
                                              const std::vector<DeviceAddress>& addresses,
                                              size_t count);

}  // namespace mdr::bindings
