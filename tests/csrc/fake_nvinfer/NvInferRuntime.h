#pragma once

#include <cstddef>
#include <cstdint>

// As much of NVIDIA's interface, of both products, as the backends use, for a library that the
// tests make. It is not the ABI of any release: what is compiled with it runs with that library.
#define NV_TENSORRT_MAJOR 7
#define NV_TENSORRT_VERSION 70102

using cudaStream_t = struct CUstream_st*;

namespace nvinfer1 {

using AsciiChar = char;

class ILogger {
 public:
  enum class Severity : int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  virtual ~ILogger() = default;
  virtual void log(Severity severity, const AsciiChar* message) noexcept = 0;
};

struct Dims {
  int32_t nbDims;
  int64_t d[8];
};

enum class ExecutionContextAllocationStrategy { kSTATIC, kON_PROFILE_CHANGE, kUSER_MANAGED };
enum class DynamicShapesKernelSpecializationStrategy { kLAZY, kEAGER, kNONE };
enum class CudaGraphStrategy { kDISABLED, kWHOLE_GRAPH_CAPTURE };

class IRuntimeCache {
 public:
  virtual ~IRuntimeCache() = default;
  virtual bool deserialize(const void* blob, size_t bytes) noexcept = 0;
};

class IRuntimeConfig {
 public:
  virtual ~IRuntimeConfig() = default;
  virtual void setExecutionContextAllocationStrategy(
      ExecutionContextAllocationStrategy strategy) noexcept = 0;
  virtual bool setDynamicShapesKernelSpecializationStrategy(
      DynamicShapesKernelSpecializationStrategy strategy) noexcept = 0;
  virtual bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept = 0;
  virtual IRuntimeCache* createRuntimeCache() noexcept = 0;
  virtual bool setRuntimeCache(const IRuntimeCache& cache) noexcept = 0;
};

class IExecutionContext {
 public:
  virtual ~IExecutionContext() = default;
  virtual bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept = 0;
  virtual bool setInputShape(const char* tensor, const Dims& dims) noexcept = 0;
  virtual void setDeviceMemoryV2(void* memory, int64_t bytes) noexcept = 0;
  virtual bool setTensorAddress(const char* tensor, void* address) noexcept = 0;
  virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;
  virtual int32_t getNbIOTensors() const noexcept = 0;
  virtual const char* getIOTensorName(int32_t index) const noexcept = 0;
  virtual int32_t getNbOptimizationProfiles() const noexcept = 0;
  virtual int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept = 0;
  virtual IExecutionContext* createExecutionContext(
      ExecutionContextAllocationStrategy strategy) noexcept = 0;
  virtual IRuntimeConfig* createRuntimeConfig() noexcept = 0;
  virtual IExecutionContext* createExecutionContext(IRuntimeConfig* config) noexcept = 0;
};

class IRuntime {
 public:
  virtual ~IRuntime() = default;
  virtual ICudaEngine* deserializeCudaEngine(const void* blob, size_t bytes) noexcept = 0;
};

}  // namespace nvinfer1
