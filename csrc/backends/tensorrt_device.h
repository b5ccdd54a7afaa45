#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backends/backend.h"
#include "backends/gpu.h"
#include "backends/tensorrt_runtime.h"

namespace mdr {

// A backend that runs engines of the cache with one of NVIDIA's libraries, without Python.
std::unique_ptr<Backend> make_native_backend(
    std::string name, std::function<std::unique_ptr<TensorRTRuntime>()> open_runtime);

// Its device on an opened GPU. Engines are not built here: the graphs are made ready for TensorRT,
// and given their precision, in Python. Throws Error(ErrorKind::backend) when the request cannot be
// met.
std::shared_ptr<GpuDevice> make_tensorrt_device(std::string name, const DeviceRequest& request,
                                                std::unique_ptr<TensorRTRuntime> runtime,
                                                std::unique_ptr<Gpu> gpu, GpuIdentity identity);

}  // namespace mdr
