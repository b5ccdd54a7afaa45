#include <string>

#include "NvInferRuntime.h"
#include "fake_nvinfer.h"

// The library that both products' backends are tested with. It computes nothing: what is queued is
// handed to the test, which knows what the modules do.
namespace {

using namespace nvinfer1;

FakeNvState state;
ILogger* logger = nullptr;

bool works(const char* function) {
  if (state.failing != function) return true;
  logger->log(ILogger::Severity::kWARNING, "a warning is no reason");
  logger->log(ILogger::Severity::kERROR, (std::string(function) + "\nwas told to fail").c_str());
  return false;
}

void note_gpu() { state.elsewhere += state.on_gpu && !state.on_gpu(); }

class Cache : public IRuntimeCache {
 public:
  Cache() { ++state.caches, ++state.made_caches; }
  ~Cache() override {
    --state.caches;
    state.orphans += state.contexts;
  }
  bool deserialize(const void* blob, size_t bytes) noexcept override {
    state.kernels.insert(std::string(static_cast<const char*>(blob), bytes));
    return works("deserialize");
  }
};

class Config : public IRuntimeConfig {
 public:
  void setExecutionContextAllocationStrategy(
      ExecutionContextAllocationStrategy strategy) noexcept override {
    if (strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED) {
      state.settings.insert("user managed");
    }
  }
  bool setDynamicShapesKernelSpecializationStrategy(
      DynamicShapesKernelSpecializationStrategy strategy) noexcept override {
    if (strategy == DynamicShapesKernelSpecializationStrategy::kEAGER) {
      state.settings.insert("eager");
    }
    return true;
  }
  bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept override {
    if (strategy == CudaGraphStrategy::kDISABLED) state.settings.insert("no graphs");
    return true;
  }
  IRuntimeCache* createRuntimeCache() noexcept override { return new Cache(); }
  bool setRuntimeCache(const IRuntimeCache&) noexcept override {
    state.settings.insert("cache");
    return true;
  }
};

class Context : public IExecutionContext {
 public:
  explicit Context(std::string module) {
    call_.module = std::move(module);
    ++state.contexts, ++state.made_contexts;
    note_gpu();
  }
  ~Context() override {
    --state.contexts;
    note_gpu();
  }

  bool setOptimizationProfileAsync(int32_t profile, cudaStream_t) noexcept override {
    change();
    call_.profile = profile;
    return works("setOptimizationProfileAsync");
  }
  bool setInputShape(const char* tensor, const Dims& dims) noexcept override {
    change();
    call_.shapes[tensor].assign(dims.d, dims.d + dims.nbDims);
    return works("setInputShape");
  }
  void setDeviceMemoryV2(void* memory, int64_t bytes) noexcept override {
    change();
    call_.scratch = memory;
    call_.scratch_bytes = bytes;
  }
  bool setTensorAddress(const char* tensor, void* address) noexcept override {
    change();
    call_.addresses[tensor] = address;
    return works("setTensorAddress");
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    used_ = true;
    return works("enqueueV3") && state.run(call_, stream);
  }

 private:
  void change() { state.changed_after_use += used_; }

  FakeNvCall call_;
  bool used_ = false;
};

class CudaEngine : public ICudaEngine {
 public:
  explicit CudaEngine(std::string module) : module_(std::move(module)) {
    ++state.engines;
    note_gpu();
  }
  ~CudaEngine() override {
    --state.engines;
    note_gpu();
  }

  int32_t getNbIOTensors() const noexcept override {
    return static_cast<int32_t>(state.tensors[module_].size());
  }
  const char* getIOTensorName(int32_t index) const noexcept override {
    return state.tensors[module_][index].c_str();
  }
  int32_t getNbOptimizationProfiles() const noexcept override { return state.profiles; }
  int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override {
    return 1000 * (profile + 1);
  }
  IExecutionContext* createExecutionContext(
      ExecutionContextAllocationStrategy strategy) noexcept override {
    if (strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED) {
      state.settings.insert("user managed");
    }
    return works("createExecutionContext") ? new Context(module_) : nullptr;
  }
  IRuntimeConfig* createRuntimeConfig() noexcept override {
    return works("createRuntimeConfig") ? new Config() : nullptr;
  }
  IExecutionContext* createExecutionContext(IRuntimeConfig*) noexcept override {
    return works("createExecutionContext") ? new Context(module_) : nullptr;
  }

 private:
  const std::string module_;
};

class Runtime : public IRuntime {
 public:
  Runtime() { ++state.runtimes; }
  ~Runtime() override {
    --state.runtimes;
    state.orphans += state.engines;
  }
  ICudaEngine* deserializeCudaEngine(const void* blob, size_t bytes) noexcept override {
    if (!works("deserializeCudaEngine")) return nullptr;
    return new CudaEngine(std::string(static_cast<const char*>(blob), bytes));
  }
};

}  // namespace

extern "C" {

FakeNvState* fake_nvinfer() noexcept { return &state; }
void* createInferRuntime_INTERNAL(void* to, int32_t api_version) noexcept {
  logger = static_cast<ILogger*>(to);
  if (api_version != NV_TENSORRT_VERSION || !works("createInferRuntime")) return nullptr;
  return new Runtime();
}
int32_t getInferLibMajorVersion() noexcept { return 7; }
int32_t getInferLibMinorVersion() noexcept { return 1; }
int32_t getInferLibPatchVersion() noexcept { return 2; }
int32_t getInferLibBuildVersion() noexcept { return 99; }

}  // extern "C"
