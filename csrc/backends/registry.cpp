#include "backends/registry.h"

#include <exception>

#include "core/error.h"

namespace mdr {

std::vector<std::unique_ptr<Backend>> all_backends() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_tensorrt_backend());
  backends.push_back(make_tensorrt_rtx_backend());
  backends.push_back(make_openvino_backend());
  return backends;
}

std::shared_ptr<Device> open_device(const std::string& name, const DeviceRequest& request) {
  std::string known;
  std::exception_ptr refusal;
  for (const auto& backend : all_backends()) {
    known += (known.empty() ? "" : ", ") + backend->name();
    if (name == backend->name()) return backend->open(request);
    if (name != "auto" || !backend->automatic()) continue;
    try {
      return backend->open(request);
    } catch (const Error&) {
      refusal = std::current_exception();
    }
  }
  if (refusal) std::rethrow_exception(refusal);
  fail(ErrorKind::backend, "backend: expected auto or one of ", known, ", found ", name,
       "; probably mistyped; give one of these");
}

}  // namespace mdr
