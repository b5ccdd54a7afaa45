#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backends/gpu.h"

namespace mdr {

// Raised when the same ONNX file gives another graph, so that engines of the old one are left.
constexpr int kTensorRTGraphVersion = 2;

// What an engine must be of to be run here.
struct TensorRTWanted {
  std::string module, onnx_sha256;
  std::string backend, version;  // the library's, in full
  std::string precision;
  GpuIdentity gpu;
  std::vector<TensorInfo> inputs;  // an ONNX file may leave the tile's size free
};

struct TensorRTTensor {
  TensorInfo info;
  ExpertType type = ExpertType::float32;
};

// An engine that `moediff-rt build-engines` left in the cache, and what its manifest says.
struct TensorRTEntry {
  std::string blob, path;
  std::string device;        // what it was built for: a GPU, or generations of them
  std::string unchecked;     // why it was not compared with float32 on this GPU; "" where it was
  std::vector<int> batches;  // of its profiles, in their order
  std::vector<TensorRTTensor> inputs, outputs;
};

// The newest whole engine for the GPU. Throws Error(ErrorKind::engine) that says what there is
// instead and how to build one.
TensorRTEntry find_tensorrt_engine(const std::filesystem::path& folder,
                                   const TensorRTWanted& wanted);

// The kernels that RTX compiled for engines of a `device` when they were checked; "" for none.
std::string kept_kernels(const std::filesystem::path& folder, const TensorRTWanted& wanted,
                         const std::string& device);

}  // namespace mdr
