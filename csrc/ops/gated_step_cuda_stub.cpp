#include "core/error.h"
#include "ops/gated_step.h"

namespace mdr {

bool gated_step_cuda_built() { return false; }

void gated_step_cuda(const GatedStepShape&, const GatedStepScalars&, const GatedStepDeviceBatch&,
                     void*) {
  fail(ErrorKind::backend,
       "gated_step: expected a build with CUDA, found one without; nvcc was not there when this ",
       "was built; build again where nvcc is on PATH, or use the CPU");
}

}  // namespace mdr
