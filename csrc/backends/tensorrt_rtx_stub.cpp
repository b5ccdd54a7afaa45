#include "backends/registry.h"
#include "core/error.h"

namespace mdr {
namespace {

constexpr const char* kReason =
    "this build's library has none of its own; it was made without TENSORRT_RTX_ROOT; name it to "
    "the moediff-rt command, --backend tensorrt-rtx, which runs its Python package on a GPU "
    "(auto does not: it has not been run on one yet), build the library with it, or use the "
    "openvino backend";

class AbsentBackend : public Backend {
 public:
  std::string name() const override { return "tensorrt-rtx"; }
  BackendInfo info() const override { return {name(), false, kReason, "", {}, {}}; }
  std::shared_ptr<Device> open(const DeviceRequest&) const override {
    fail(ErrorKind::backend, "tensorrt-rtx: expected the backend, but ", kReason);
  }
};

}  // namespace

std::unique_ptr<Backend> make_tensorrt_rtx_backend() { return std::make_unique<AbsentBackend>(); }

}  // namespace mdr
