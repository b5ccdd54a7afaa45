#include "backends/registry.h"
#include "core/error.h"

namespace mdr {
namespace {

constexpr const char* kReason =
    "this release builds TensorRT for RTX engines (build-engines --backend tensorrt-rtx) but does "
    "not run "
    "them yet; use the openvino backend";

class AbsentBackend : public Backend {
 public:
  BackendInfo info() const override { return {"tensorrt-rtx", false, kReason, "", {}, {}}; }
  std::shared_ptr<Device> open(const DeviceRequest&) const override {
    fail(ErrorKind::backend, "tensorrt-rtx: expected the backend, but ", kReason);
  }
};

}  // namespace

std::unique_ptr<Backend> make_tensorrt_rtx_backend() { return std::make_unique<AbsentBackend>(); }

}  // namespace mdr
