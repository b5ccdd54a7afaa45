#include "backends/registry.h"
#include "backends/tensorrt_device.h"
#include "backends/tensorrt_nvinfer.h"

namespace mdr {
namespace {

TensorRTProduct product() {
  return {"tensorrt", text("libnvinfer.so.", NV_TENSORRT_MAJOR), MDR_TENSORRT_FOLDER,
          NV_TENSORRT_VERSION};
}

class FullRuntime : public TensorRTRuntime {
 public:
  FullRuntime() : product_(open_product(product())) {
    product_->make_context = [](nvinfer1::ICudaEngine& engine) {
      return std::unique_ptr<nvinfer1::IExecutionContext>(engine.createExecutionContext(
          nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
    };
  }

  const std::string& version() const override { return product_->library.version; }
  void remember(std::string) override {}
  std::unique_ptr<TensorRTEngine> load(const std::string& module,
                                       const std::string& blob) override {
    return load_engine(product_, module, blob);
  }

 private:
  const std::shared_ptr<NvProduct> product_;
};

}  // namespace

std::unique_ptr<TensorRTRuntime> open_tensorrt_runtime() { return std::make_unique<FullRuntime>(); }

std::unique_ptr<Backend> make_tensorrt_backend() {
  return make_native_backend("tensorrt", open_tensorrt_runtime);
}

}  // namespace mdr
