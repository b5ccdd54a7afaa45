#include "backends/gpu.h"
#include "core/error.h"

namespace mdr {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorKind::backend,
       "gpu: expected a build with CUDA, found one without; nvcc was probably not there when this ",
       "was built; build again where nvcc is on PATH, or use the openvino backend");
}

}  // namespace

std::vector<GpuIdentity> list_cuda_gpus() { refuse(); }

std::unique_ptr<Gpu> open_cuda_gpu(int) { refuse(); }

}  // namespace mdr
