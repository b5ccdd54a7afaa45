#include "backends/tensorrt_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace mdr {
namespace {

// RTLD_NODELETE: the library keeps threads and device state that outlive its last object.
constexpr int kHow = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;

void* open_library(const TensorRTProduct& product) {
  const std::string beside_headers = text(product.folder, "/", product.file);
  if (void* library = dlopen(beside_headers.c_str(), kHow)) return library;
  if (void* library = dlopen(product.file.c_str(), kHow)) return library;
  const char* why = dlerror();
  fail(ErrorKind::backend, product.backend, ": expected the library ", product.file, " in ",
       product.folder, " or on the loader's path, found ", why ? why : "none",
       "; it is probably not installed here; install it, name its folder in LD_LIBRARY_PATH, or "
       "use ",
       "the openvino backend");
}

template <typename Function>
Function* find(void* library, const TensorRTProduct& product, const char* name) {
  if (void* found = dlsym(library, name)) return reinterpret_cast<Function*>(found);
  fail(
      ErrorKind::backend, product.backend, ": expected ", product.file, " to have ", name,
      ", found that it does not; it is probably of another release; install the one that this was ",
      "built with");
}

}  // namespace

TensorRTLibrary load_tensorrt(const TensorRTProduct& product) {
  void* library = open_library(product);
  std::string version;
  for (const char* name : {"getInferLibMajorVersion", "getInferLibMinorVersion",
                           "getInferLibPatchVersion", "getInferLibBuildVersion"}) {
    version += text(version.empty() ? "" : ".", find<int32_t()>(library, product, name)());
  }
  return {std::move(version),
          find<void*(void*, int32_t) noexcept>(library, product, "createInferRuntime_INTERNAL")};
}

}  // namespace mdr
