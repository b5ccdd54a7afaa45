#pragma once

#include <NvInferRuntime.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backends/tensorrt_library.h"
#include "backends/tensorrt_runtime.h"
#include "core/error.h"

// What both products have in common, on NVIDIA's classes. Each product's file includes it with the
// headers of its own SDK, which differ in what the library expects: nothing here may be shared.
namespace mdr {
namespace {

// Keeps what the library last had to say of an error, from whichever thread.
class NvLog : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const nvinfer1::AsciiChar* message) noexcept override {
    if (severity > Severity::kERROR) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = message;
    for (char& c : last_) c = c == '\n' ? ' ' : c;
  }
  std::string take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return last_.empty() ? "no reason given" : std::exchange(last_, "");
  }

 private:
  std::mutex mutex_;
  std::string last_;
};

// What loaded engines need for as long as they live.
struct NvProduct {
  std::string backend;
  TensorRTLibrary library;
  NvLog log;
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  // A context that works in memory that it is given; how, is the product's own.
  std::function<std::unique_ptr<nvinfer1::IExecutionContext>(nvinfer1::ICudaEngine&)> make_context;

  [[noreturn]] void refuse(const std::string& module, const std::string& what, const char* cause) {
    fail(ErrorKind::engine, "engine: expected ", backend, " ", library.version, " to ", what,
         " of ", module, ", found: ", log.take(), "; ", cause);
  }
};

constexpr const char* kNoMemory =
    "the GPU is probably out of memory; give it less with a smaller batch or memory limit";

class NvContext : public TensorRTContext {
 public:
  NvContext(std::shared_ptr<NvProduct> product, std::string module,
            std::shared_ptr<nvinfer1::ICudaEngine> engine)
      : product_(std::move(product)),
        module_(std::move(module)),
        engine_(std::move(engine)),
        context_(product_->make_context(*engine_)) {
    if (!context_) product_->refuse(module_, "make a context", kNoMemory);
  }

  void set(const TensorRTCall& call, GpuStream stream) {
    const auto on = static_cast<cudaStream_t>(stream);
    if (!context_->setOptimizationProfileAsync(call.profile, on)) {
      product_->refuse(module_, text("take profile ", call.profile), kNoMemory);
    }
    for (const TensorRTCall::Tensor& tensor : call.tensors) {
      if (tensor.is_input && !context_->setInputShape(tensor.name.c_str(), dims(tensor.shape))) {
        product_->refuse(module_, text("take the shape of ", tensor.name), kNoMemory);
      }
    }
    context_->setDeviceMemoryV2(call.scratch, call.scratch_bytes);
    for (const TensorRTCall::Tensor& tensor : call.tensors) {
      if (!context_->setTensorAddress(tensor.name.c_str(), tensor.address)) {
        product_->refuse(module_, text("take the address of ", tensor.name), kNoMemory);
      }
    }
  }

  void enqueue(GpuStream stream) override {
    if (context_->enqueueV3(static_cast<cudaStream_t>(stream))) return;
    // Nothing was computed, and nothing may be read as if.
    product_->refuse(module_, "queue a call",
                     "the GPU has probably failed or is out of memory; run again with less");
  }

 private:
  static nvinfer1::Dims dims(const std::vector<int64_t>& shape) {
    nvinfer1::Dims out{};
    for (const int64_t size : shape) out.d[out.nbDims++] = size;
    return out;
  }

  // In this order, so that a context goes before what it was made with.
  const std::shared_ptr<NvProduct> product_;
  const std::string module_;
  const std::shared_ptr<nvinfer1::ICudaEngine> engine_;
  const std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

class NvEngine : public TensorRTEngine {
 public:
  NvEngine(std::shared_ptr<NvProduct> product, std::string module,
           std::shared_ptr<nvinfer1::ICudaEngine> engine)
      : product_(std::move(product)), module_(std::move(module)), engine_(std::move(engine)) {}

  std::vector<std::string> tensors() const override {
    std::vector<std::string> names;
    for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
      names.emplace_back(engine_->getIOTensorName(i));
    }
    return names;
  }
  int profiles() const override { return engine_->getNbOptimizationProfiles(); }
  int64_t scratch_bytes(int profile) const override {
    return engine_->getDeviceMemorySizeForProfileV2(profile);
  }
  std::unique_ptr<TensorRTContext> prepare(const TensorRTCall& call, GpuStream stream) override {
    auto context = std::make_unique<NvContext>(product_, module_, engine_);
    context->set(call, stream);
    return context;
  }

 private:
  const std::shared_ptr<NvProduct> product_;
  const std::string module_;
  const std::shared_ptr<nvinfer1::ICudaEngine> engine_;
};

// Loads the library and makes its runtime; `make_context` is still to be set.
std::shared_ptr<NvProduct> open_product(const TensorRTProduct& wanted) {
  auto product = std::make_shared<NvProduct>();
  product->backend = wanted.backend;
  product->library = load_tensorrt(wanted);
  product->runtime.reset(static_cast<nvinfer1::IRuntime*>(
      product->library.create_runtime(&product->log, wanted.api_version)));
  if (product->runtime) return product;
  fail(ErrorKind::backend, wanted.backend, ": expected release ", product->library.version,
       " to take ", "the headers' ", wanted.api_version, ", found: ", product->log.take(),
       "; this was probably built with another release; build it again with this one's headers");
}

std::unique_ptr<TensorRTEngine> load_engine(const std::shared_ptr<NvProduct>& product,
                                            const std::string& module, const std::string& blob) {
  std::shared_ptr<nvinfer1::ICudaEngine> engine(
      product->runtime->deserializeCudaEngine(blob.data(), blob.size()));
  if (!engine) {
    product->refuse(module, "load the engine",
                    "it is probably for another GPU or release; build it again with moediff-rt "
                    "build-engines --force");
  }
  return std::make_unique<NvEngine>(product, module, std::move(engine));
}

}  // namespace
}  // namespace mdr
