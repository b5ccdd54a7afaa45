#include "backends/registry.h"

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
  for (const auto& backend : all_backends()) {
    known += (known.empty() ? "" : ", ") + backend->name();
    const bool named = name == backend->name();
    if (!named && !(name == "auto" && backend->automatic())) continue;
    const BackendInfo info = backend->info();
    if (info.available) return backend->open(request);
    if (named) {
      fail(ErrorKind::backend, "backend: expected ", name, " to be usable, but ", info.reason);
    }
  }
  if (name == "auto") {
    fail(ErrorKind::backend, "backend: expected one usable backend, found none of ", known,
         "; the openvino package is probably damaged; install moediff-rt again");
  }
  fail(ErrorKind::backend, "backend: expected auto or one of ", known, ", found ", name,
       "; probably mistyped; give one of these");
}

}  // namespace mdr
