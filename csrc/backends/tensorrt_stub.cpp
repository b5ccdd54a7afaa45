#include "backends/registry.h"
#include "core/error.h"

namespace mdr {
namespace {

constexpr const char* kReason =
    "TensorRT has not been run on a GPU yet, so auto does not choose it; name it with "
    "--backend tensorrt (from C++ in a build with TENSORRT_ROOT), or use the openvino "
    "backend";

class AbsentBackend : public Backend {
 public:
  std::string name() const override { return "tensorrt"; }
  BackendInfo info() const override { return {name(), false, kReason, "", {}, {}}; }
  std::shared_ptr<Device> open(const DeviceRequest&) const override {
    fail(ErrorKind::backend, "tensorrt: expected the backend, but ", kReason);
  }
};

}  // namespace

std::unique_ptr<Backend> make_tensorrt_backend() { return std::make_unique<AbsentBackend>(); }

}  // namespace mdr
