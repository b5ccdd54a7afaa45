#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace mdr {

// One maker per backend file; an absent backend has a stub file that says why.
std::unique_ptr<Backend> make_openvino_backend();
std::unique_ptr<Backend> make_tensorrt_backend();
std::unique_ptr<Backend> make_tensorrt_rtx_backend();

// Every known backend, in the order in which "auto" tries them.
std::vector<std::unique_ptr<Backend>> all_backends();

// Throws Error(ErrorKind::backend) when `name` is unknown or not available here.
std::shared_ptr<Device> open_device(const std::string& name, const DeviceRequest& request);

}  // namespace mdr
