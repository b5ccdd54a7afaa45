#include "backends/tensorrt_device.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <utility>
#include <vector>

#include "backends/cpu_threads.h"
#include "backends/tensorrt_cache.h"
#include "backends/tensorrt_module.h"
#include "core/error.h"

namespace mdr {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<const char*, 4> kPrecisions = {"fp32", "tf32", "fp16", "bf16"};

// "auto" is fp16: as fast as bf16, and eight times nearer to float32.
std::string choose_precision(const std::string& name, const std::string& wanted) {
  if (wanted == "auto") return "fp16";
  if (std::find(kPrecisions.begin(), kPrecisions.end(), wanted) != kPrecisions.end()) return wanted;
  fail(ErrorKind::backend, name,
       ": expected precision auto or one of fp32, tf32, fp16, bf16, found ", wanted,
       "; probably mistyped; give one of these");
}

// "auto" is the first.
int choose_gpu(const std::string& name, const std::string& wanted, int count) {
  if (wanted == "auto") return 0;
  for (int i = 0; i < count; ++i) {
    if (wanted == std::to_string(i)) return i;
  }
  fail(ErrorKind::backend, name, ": expected device auto or the number of a GPU below ", count,
       ", found ", wanted, "; probably mistyped; give one of these");
}

class TensorRTDevice : public GpuDevice {
 public:
  TensorRTDevice(std::string name, const DeviceRequest& request,
                 std::unique_ptr<TensorRTRuntime> runtime, std::unique_ptr<Gpu> gpu,
                 GpuIdentity identity)
      : backend_(std::move(name)),
        precision_(choose_precision(backend_, request.precision)),
        folder_(request.engines_dir),
        threads_(host_threads(request.threads)),
        memory_limit_(request.memory_limit),
        gpu_(std::move(gpu)),
        identity_(std::move(identity)),
        runtime_(std::move(runtime)) {
    if (folder_.empty()) {
      fail(ErrorKind::backend, backend_,
           ": expected a folder of engines, found none; they are not ",
           "built here; build them with moediff-rt build-engines --backend ", backend_,
           " and name the folder");
    }
    if (request.force) {
      fail(
          ErrorKind::backend, backend_, ": expected engines to be taken from the cache, found a ",
          "request to build them; they are not built here; use moediff-rt build-engines --backend ",
          backend_, " --force");
    }
  }
  ~TensorRTDevice() override {
    give_back_on(*gpu_, [&] { runtime_.reset(); });
  }

  const std::string& backend() const override { return backend_; }
  const std::string& name() const override { return identity_.name; }
  const std::string& precision() const override { return precision_; }
  int threads() const override { return threads_; }
  bool any_tile_size() const override { return false; }
  std::shared_ptr<Engine> load(const EngineSource& source) override;
  Gpu& gpu() const override { return *gpu_; }
  int largest_batch() const override { return largest_batch_; }
  int64_t memory_limit() const override { return memory_limit_of(*gpu_, memory_limit_); }
  bool captures() const override { return true; }
  bool concurrent() const override { return true; }

 private:
  const std::string backend_, precision_, folder_;
  const int threads_;
  const int64_t memory_limit_;
  const std::shared_ptr<Gpu> gpu_;
  const GpuIdentity identity_;
  std::unique_ptr<TensorRTRuntime> runtime_;
  int largest_batch_ = INT_MAX;  // that all engines loaded have
};

std::shared_ptr<Engine> TensorRTDevice::load(const EngineSource& source) {
  const Clock::time_point begin = Clock::now();
  const GpuUse use(*gpu_);
  TensorRTWanted wanted = {source.module, source.onnx_sha256, backend_, runtime_->version(),
                           precision_,    identity_,          {}};
  for (size_t i = 0; i < source.input_dims.size(); ++i) {
    wanted.inputs.push_back({source.inputs[i], source.input_dims[i]});
  }
  const TensorRTEntry entry = find_tensorrt_engine(folder_, wanted);
  runtime_->remember(kept_kernels(folder_, wanted, entry.device));
  std::unique_ptr<TensorRTEngine> engine = runtime_->load(source.module, entry.blob);
  EngineReport report;
  report.module = source.module;
  report.backend = backend_;
  report.device = entry.device;
  report.precision = precision_;
  report.path = entry.path;
  report.bytes = static_cast<int64_t>(entry.blob.size());
  report.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  report.cached = true;
  report.reason = entry.unchecked;
  auto module =
      std::make_shared<TensorRTModule>(std::move(report), entry, source, std::move(engine), gpu_);
  largest_batch_ = std::min(largest_batch_, module->largest_batch());
  return module;
}

class NativeBackend : public Backend {
 public:
  NativeBackend(std::string name, std::function<std::unique_ptr<TensorRTRuntime>()> open_runtime)
      : name_(std::move(name)), open_runtime_(std::move(open_runtime)) {}

  std::string name() const override { return name_; }
  bool automatic() const override { return false; }
  BackendInfo info() const override {
    BackendInfo info;
    info.name = name_;
    try {
      info.version = open_runtime_()->version();
      for (const GpuIdentity& gpu : list_cuda_gpus()) info.devices.push_back(gpu.name);
      info.precisions.assign(kPrecisions.begin(), kPrecisions.end());
      info.available = true;
      info.reason = "it has not been run on a GPU yet, so auto does not choose it; name it";
    } catch (const Error& error) {
      info.reason = error.what();
    }
    return info;
  }

  std::shared_ptr<Device> open(const DeviceRequest& request) const override {
    const std::vector<GpuIdentity> gpus = list_cuda_gpus();
    const int index = choose_gpu(name_, request.device, static_cast<int>(gpus.size()));
    std::unique_ptr<Gpu> gpu = open_cuda_gpu(index);
    std::unique_ptr<TensorRTRuntime> runtime = runtime_on(*gpu);
    return make_tensorrt_device(name_, request, std::move(runtime), std::move(gpu), gpus[index]);
  }

 private:
  std::unique_ptr<TensorRTRuntime> runtime_on(Gpu& gpu) const {
    const GpuUse use(gpu);
    return open_runtime_();
  }

  const std::string name_;
  const std::function<std::unique_ptr<TensorRTRuntime>()> open_runtime_;
};

}  // namespace

std::shared_ptr<GpuDevice> make_tensorrt_device(std::string name, const DeviceRequest& request,
                                                std::unique_ptr<TensorRTRuntime> runtime,
                                                std::unique_ptr<Gpu> gpu, GpuIdentity identity) {
  return std::make_shared<TensorRTDevice>(std::move(name), request, std::move(runtime),
                                          std::move(gpu), std::move(identity));
}

std::unique_ptr<Backend> make_native_backend(
    std::string name, std::function<std::unique_ptr<TensorRTRuntime>()> open_runtime) {
  return std::make_unique<NativeBackend>(std::move(name), std::move(open_runtime));
}

}  // namespace mdr
