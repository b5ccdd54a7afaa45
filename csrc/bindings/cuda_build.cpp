#include "ops/cuda_build.h"

#include "bindings/bindings.h"

namespace mdr::bindings {

void bind_cuda_build(pybind11::module_& m) {
  m.def("cuda_built", &cuda_built, "Whether this build has the CUDA ops.");
}

}  // namespace mdr::bindings
