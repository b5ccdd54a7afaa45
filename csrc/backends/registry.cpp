#include "backends/registry.h"

#include "core/error.h"

namespace mdr {

int64_t TensorInfo::elements() const {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  return count;
}

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
    const BackendInfo info = backend->info();
    if (name == info.name && !info.available) {
      fail(ErrorKind::backend, "backend: expected ", name, " to be usable, but ", info.reason);
    }
    const bool chosen = name == info.name || (name == "auto" && info.automatic);
    if (info.available && chosen) return backend->open(request);
    known += (known.empty() ? "" : ", ") + info.name;
  }
  if (name == "auto") {
    fail(ErrorKind::backend, "backend: expected one usable backend, found none of ", known,
         "; the openvino package is probably damaged; install moediff-rt again");
  }
  fail(ErrorKind::backend, "backend: expected auto or one of ", known, ", found ", name,
       "; probably mistyped; give one of these");
}

}  // namespace mdr
