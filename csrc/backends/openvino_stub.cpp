#include "backends/registry.h"
#include "core/error.h"

namespace mdr {
namespace {

constexpr const char* kReason =
    "this build has no OpenVINO backend; it was made with MOEDIFF_RT_OPENVINO=OFF; build again "
    "without that";

class AbsentBackend : public Backend {
 public:
  std::string name() const override { return "openvino"; }
  BackendInfo info() const override { return {name(), false, kReason, "", {}, {}}; }
  std::shared_ptr<Device> open(const DeviceRequest&) const override {
    fail(ErrorKind::backend, "openvino: expected the backend, but ", kReason);
  }
};

}  // namespace

std::unique_ptr<Backend> make_openvino_backend() { return std::make_unique<AbsentBackend>(); }

}  // namespace mdr
