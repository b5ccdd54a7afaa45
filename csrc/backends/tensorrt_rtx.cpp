#include "backends/registry.h"
#include "backends/tensorrt_device.h"
#include "backends/tensorrt_nvinfer.h"

namespace mdr {
namespace {

TensorRTProduct product() {
  return {"tensorrt-rtx", text("libtensorrt_rtx.so.", NV_TENSORRT_MAJOR), MDR_TENSORRT_FOLDER,
          NV_TENSORRT_VERSION};
}

// The kernels compiled for this GPU: one cache, shared by all contexts and destroyed after them.
class Kernels {
 public:
  void remember(std::string kept) { kept_ = std::move(kept); }
  void share(nvinfer1::IRuntimeConfig& config) {
    if (!cache_) {
      cache_.reset(config.createRuntimeCache());
      // What an earlier release or another GPU left does not fit, and is compiled anew.
      if (cache_ && !kept_.empty()) cache_->deserialize(kept_.data(), kept_.size());
    }
    if (cache_) config.setRuntimeCache(*cache_);
  }

 private:
  std::string kept_;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
};

// Each batch size has kernels of its own, compiled before the first call returns. The library's own
// capture of whole graphs stays off: it clashes with the scheduler's.
std::unique_ptr<nvinfer1::IExecutionContext> make_context(nvinfer1::ICudaEngine& engine,
                                                          Kernels& kernels) {
  const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine.createRuntimeConfig());
  if (!config) return nullptr;
  config->setExecutionContextAllocationStrategy(
      nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
  config->setDynamicShapesKernelSpecializationStrategy(
      nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
  config->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kDISABLED);
  kernels.share(*config);
  return std::unique_ptr<nvinfer1::IExecutionContext>(engine.createExecutionContext(config.get()));
}

class RtxRuntime : public TensorRTRuntime {
 public:
  RtxRuntime() : product_(open_product(product())), kernels_(std::make_shared<Kernels>()) {
    product_->make_context = [kernels = kernels_](nvinfer1::ICudaEngine& engine) {
      return make_context(engine, *kernels);
    };
  }

  const std::string& version() const override { return product_->library.version; }
  void remember(std::string kernels) override { kernels_->remember(std::move(kernels)); }
  std::unique_ptr<TensorRTEngine> load(const std::string& module,
                                       const std::string& blob) override {
    return load_engine(product_, module, blob);
  }

 private:
  const std::shared_ptr<NvProduct> product_;
  const std::shared_ptr<Kernels> kernels_;
};

}  // namespace

std::unique_ptr<TensorRTRuntime> open_tensorrt_rtx_runtime() {
  return std::make_unique<RtxRuntime>();
}

std::unique_ptr<Backend> make_tensorrt_rtx_backend() {
  return make_native_backend("tensorrt-rtx", open_tensorrt_rtx_runtime);
}

}  // namespace mdr
