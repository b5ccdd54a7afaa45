#include "ops/cuda_launch.cuh"

#include "core/error.h"
#include "ops/cuda_build.h"

namespace mdr {
namespace {

const char* cause_and_remedy(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
      return "the driver is probably missing or older than this build; update it or use the CPU";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this build probably has no code for this GPU; build again with a newer nvcc";
    case cudaErrorInvalidConfiguration:
      return "the batch is probably empty or has too many tiles; give from 1 to 65535";
    default:
      return "an earlier operation on this device probably failed; run again under "
             "compute-sanitizer, which names it";
  }
}

}  // namespace

bool cuda_built() { return true; }

void check_launch(const char* op, cudaError_t status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next caller in this thread would be told of it again
  fail(ErrorKind::backend, op, ": expected a CUDA launch, found ", cudaGetErrorString(status), "; ",
       cause_and_remedy(status));
}

}  // namespace mdr
