#pragma once

#include <dlfcn.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/engine_cache.h"
#include "backends/tensorrt_cache.h"
#include "backends/tensorrt_device.h"
#include "claim.h"
#include "core/enhance.h"
#include "fake_device.h"
#include "fake_nvinfer/fake_nvinfer.h"
#include "host_gpu_device.h"
#include "scratch_folder.h"

// One of NVIDIA's products, as the tests play it.
struct Product {
  std::string backend, file, device;
  std::unique_ptr<mdr::TensorRTRuntime> (*open)();
};

inline const Product kFull = {"tensorrt", "libnvinfer.so.7", "A GPU (sm89)",
                              mdr::open_tensorrt_runtime};
inline const Product kRtx = {"tensorrt-rtx", "libtensorrt_rtx.so.7", "sm86+sm89",
                             mdr::open_tensorrt_rtx_runtime};

constexpr const char* kVersion = "7.1.2.99";

// A computer with a GPU acted out on the host, the product's library, and a cache with the fake
// bundle's engines; what a test changes before load() counts.
class NativeComputer {
 public:
  explicit NativeComputer(Product product, HostGpuSettings settings = {})
      : product_(std::move(product)), settings_(std::move(settings)) {
    const std::string path = MDR_TENSORRT_FOLDER "/" + product_.file;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    claims::check(library != nullptr, "no library at ", path);
    state_ = reinterpret_cast<FakeNvState* (*)()>(dlsym(library, "fake_nvinfer"))();
    *state_ = {};
    state_->run = &NativeComputer::run_call;
    state_->on_gpu = &HostGpu::in_use;
    here_ = this;
    for (size_t i = 0; i < bundle_.modules.size(); ++i) {
      mdr::ModuleFile& file = bundle_.modules[i];
      file.sha256 = std::string(64, static_cast<char>('a' + i));
      const FakeModule module(file.name);
      for (const auto& input : module.inputs) state_->tensors[file.name].push_back(input.name);
      for (const auto& output : module.outputs) state_->tensors[file.name].push_back(output.name);
      store(key(file), details(module));
    }
  }
  ~NativeComputer() { here_ = nullptr; }
  NativeComputer(const NativeComputer&) = delete;
  NativeComputer& operator=(const NativeComputer&) = delete;

  FakeNvState& library() { return *state_; }
  HostGpu& gpu() { return *gpu_; }
  const std::filesystem::path& folder() const { return folder_.path(); }
  const mdr::ModuleFile& file(const std::string& module) const { return bundle_.module(module); }

  mdr::EngineKey key(const mdr::ModuleFile& file) const {
    return {file.name,
            file.sha256,
            product_.backend,
            kVersion,
            "GPU",
            product_.device,
            "fp16",
            mdr::text("b1-2-4-8-g", mdr::kTensorRTGraphVersion)};
  }
  void store(const mdr::EngineKey& key, const std::string& details) {
    claims::equal(mdr::EngineCache(folder()).store(key, key.module, 1, details), "");
  }
  void drop(const std::string& module) {
    std::filesystem::remove(mdr::EngineCache(folder()).path(key(file(module))));
  }
  std::string details(const FakeModule& module, const std::string& batches = "[1, 2, 4, 8]",
                      const std::string& check = "null") const {
    std::string inputs, outputs;
    for (size_t i = 0; i < module.inputs.size(); ++i) {
      // Manifests list tensors in the order of the graph, which need not be the scheduler's.
      inputs = tensor(module.inputs[i], module.low_input(i)) + (i ? ", " : "") + inputs;
    }
    for (size_t i = 0; i < module.outputs.size(); ++i) {
      outputs += (i ? ", " : "") + tensor(module.outputs[i], module.low_output(i));
    }
    return mdr::text(R"({"inputs": [)", inputs, R"(], "outputs": [)", outputs, R"(], "batches": )",
                     batches, R"(, "check": )", check, "}");
  }

  std::shared_ptr<mdr::GpuDevice> open(mdr::DeviceRequest request = {}) {
    auto gpu = std::make_unique<HostGpu>(settings_.order);
    gpu_ = gpu.get();
    if (request.engines_dir.empty()) request.engines_dir = folder().string();
    return mdr::make_tensorrt_device(product_.backend, request, product_.open(), std::move(gpu),
                                     {"A GPU", 8, 9});
  }
  mdr::Model load(const mdr::DeviceRequest& request = {}) {
    modules_.clear();
    return mdr::Model(bundle_, open(request), {});
  }

 private:
  std::string tensor(const mdr::TensorInfo& info, bool low) const {
    std::string shape;
    for (const int64_t size : info.dims) shape += mdr::text(shape.empty() ? "" : ", ", size);
    return mdr::text(R"({"name": ")", info.name, R"(", "dtype": ")",
                     settings_.bfloat16 && low ? "BF16" : "FLOAT", R"(", "shape": [)", shape, "]}");
  }

  // What the library would do on the device. Nothing may be thrown through the library.
  static bool run_call(const FakeNvCall& call, void* stream) {
    try {
      here_->queue(call, stream);
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }
  void queue(const FakeNvCall& call, void* stream) {
    auto& module = modules_[call.module];
    if (!module) module = std::make_unique<HostGpuEngine>(*gpu_, call.module, settings_);
    const int batch = 1 << call.profile;
    claims::equal(call.scratch_bytes, int64_t{1000} * (call.profile + 1));
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (const mdr::TensorInfo& info : module->inputs()) {
      std::vector<int64_t> shape = {batch};
      shape.insert(shape.end(), info.dims.begin(), info.dims.end());
      claims::check(call.shapes.at(info.name) == shape, info.name, " has another shape");
      inputs.push_back(call.addresses.at(info.name));
    }
    for (const mdr::TensorInfo& info : module->outputs()) {
      outputs.push_back(call.addresses.at(info.name));
    }
    module->enqueue(batch, inputs, outputs, call.scratch, stream);
  }

  static inline NativeComputer* here_ = nullptr;
  const Product product_;
  const HostGpuSettings settings_;
  const ScratchFolder folder_;
  mdr::Bundle bundle_ = fake_bundle();
  FakeNvState* state_ = nullptr;
  HostGpu* gpu_ = nullptr;
  std::map<std::string, std::unique_ptr<HostGpuEngine>> modules_;
};

inline std::vector<float> enhanced(const mdr::Model& model,
                                   const mdr::EnhanceOptions& options = {}) {
  const std::vector<float> from = fake_volume();
  std::vector<float> out(from.size());
  mdr::enhance(model, from.data(), kFakeShape, fake_boxes(), options, out.data(), nullptr, {});
  return out;
}
