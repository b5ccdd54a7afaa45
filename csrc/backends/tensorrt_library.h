#pragma once

#include <cstdint>
#include <string>

namespace mdr {

// One of NVIDIA's libraries, and what it was compiled against.
struct TensorRTProduct {
  std::string backend;
  std::string file;     // "libnvinfer.so.10"
  std::string folder;   // of the SDK whose headers were used: looked into first
  int32_t api_version;  // of those headers
};

struct TensorRTLibrary {
  std::string version;  // in full, as engines are keyed by: "10.13.3.9"
  // Makes an IRuntime that logs to an ILogger; null when the library refuses the headers.
  void* (*create_runtime)(void* logger, int32_t api_version) noexcept;
};

// Loads the library at run time: a program that was built with it starts where it is not installed,
// and both products, whose libraries have functions of the same names, fit into one program. It is
// never unloaded. Throws Error(ErrorKind::backend) when it cannot be loaded.
TensorRTLibrary load_tensorrt(const TensorRTProduct& product);

}  // namespace mdr
