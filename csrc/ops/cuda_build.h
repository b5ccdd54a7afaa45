#pragma once

namespace mdr {

// False where this build has no CUDA: each *_cuda op then throws.
bool cuda_built();

}  // namespace mdr
