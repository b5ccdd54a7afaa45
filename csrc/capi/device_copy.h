#pragma once

#include <cstdint>

#include "backends/gpu.h"

namespace mdr::capi {

// `count` floats of a caller's device memory to or from host memory that copies need not know,
// through pinned memory in pieces. Ordered on the caller's stream; done when they return.
void from_device(Gpu& gpu, const float* device, int64_t count, GpuStream stream, float* host);
void to_device(Gpu& gpu, const float* host, int64_t count, GpuStream stream, float* device);

}  // namespace mdr::capi
