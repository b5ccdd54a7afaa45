#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/gpu.h"

namespace mdr {

// What is done with NVIDIA's library, of either product, to run engines that were built before. All
// of it throws Error(ErrorKind::engine) with what the library said when it does not do as asked.

// How an engine is called: the profile of a batch, and where everything lies on the device.
struct TensorRTCall {
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;  // the batch first
    void* address = nullptr;
    bool is_input = false;
  };
  int profile = 0;
  std::vector<Tensor> tensors;
  void* scratch = nullptr;
  int64_t scratch_bytes = 0;
};

// An engine made ready for one call; nothing of it is changed afterwards, so it may be captured.
class TensorRTContext {
 public:
  virtual ~TensorRTContext() = default;
  virtual void enqueue(GpuStream stream) = 0;
};

class TensorRTEngine {
 public:
  virtual ~TensorRTEngine() = default;
  virtual std::vector<std::string> tensors() const = 0;
  virtual int profiles() const = 0;
  virtual int64_t scratch_bytes(int profile) const = 0;
  // `stream`: what the library does for it on the device comes after what was queued there.
  virtual std::unique_ptr<TensorRTContext> prepare(const TensorRTCall& call, GpuStream stream) = 0;
};

class TensorRTRuntime {
 public:
  virtual ~TensorRTRuntime() = default;
  virtual const std::string& version() const = 0;
  // `kernels`: what an earlier run compiled for this GPU, "" for none; only RTX has such.
  virtual void remember(std::string kernels) = 0;
  virtual std::unique_ptr<TensorRTEngine> load(const std::string& module,
                                               const std::string& blob) = 0;
};

// Each product's library. Throws Error(ErrorKind::backend) when it is not there or refuses.
std::unique_ptr<TensorRTRuntime> open_tensorrt_runtime();
std::unique_ptr<TensorRTRuntime> open_tensorrt_rtx_runtime();

}  // namespace mdr
