#pragma once

#include <cuda_runtime_api.h>

#include <type_traits>

namespace mdr {

// Throws Error(ErrorKind::backend) that names `op` unless `status` is success.
void check_launch(const char* op, cudaError_t status);

// Queues `kernel` on `stream`. Its own status is checked, not the thread's last error, which may be
// of an earlier call.
template <typename... Parameters>
void launch(const char* op, void (*kernel)(Parameters...), dim3 grid, dim3 block, void* stream,
            std::common_type_t<Parameters>... parameters) {
  void* pointers[] = {&parameters...};
  check_launch(op, cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, 0,
                                    static_cast<cudaStream_t>(stream)));
}

}  // namespace mdr
