#pragma once

#include "core/model.h"

namespace mdr {

// Throws Error(ErrorKind::bundle) unless the element types of a model on a GpuDevice fit together:
// all float32 but what experts read and write, which is of one type, and the tokens.
void check_gpu_types(const Model& model);

}  // namespace mdr
