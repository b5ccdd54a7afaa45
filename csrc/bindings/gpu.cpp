#include "backends/gpu.h"

#include <pybind11/stl.h>

#include "backends/cpu_threads.h"
#include "backends/tensorrt_cache.h"
#include "bindings/bindings.h"
#include "bindings/device_memory.h"
#include "core/error.h"
#include "core/model.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

using PyTensor = std::tuple<std::string, std::vector<int64_t>, std::string>;

// A module that Python queues on the GPU. Python is called when a loop is first seen and when it is
// captured; replays do without it.
class PyGpuEngine : public GpuEngine {
 public:
  PyGpuEngine(const std::string& module, py::object engine, std::shared_ptr<Gpu> gpu)
      : gpu_(std::move(gpu)),
        report_(engine.attr("report").cast<EngineReport>()),
        scratch_bytes_(engine.attr("scratch_bytes")),
        enqueue_(engine.attr("enqueue")) {
    read(module, engine.attr("inputs"), inputs_, input_types_);
    read(module, engine.attr("outputs"), outputs_, output_types_);
  }
  ~PyGpuEngine() override {
    const py::gil_scoped_acquire acquire;
    give_back_on(*gpu_, [&] { scratch_bytes_ = enqueue_ = py::object(); });
  }

  const EngineReport& report() const override { return report_; }
  const std::vector<TensorInfo>& inputs() const override { return inputs_; }
  const std::vector<TensorInfo>& outputs() const override { return outputs_; }
  const std::vector<ExpertType>& input_types() const override { return input_types_; }
  const std::vector<ExpertType>& output_types() const override { return output_types_; }
  int64_t scratch_bytes(int batch) const override {
    const py::gil_scoped_acquire acquire;
    return scratch_bytes_(batch).cast<int64_t>();
  }
  void enqueue(int batch, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
               void* scratch, GpuStream stream) override {
    const py::gil_scoped_acquire acquire;
    enqueue_(batch, addresses(inputs), addresses(outputs), address(scratch), address(stream));
  }

 private:
  static DeviceAddress address(const void* pointer) {
    return reinterpret_cast<DeviceAddress>(pointer);
  }
  template <typename T>
  static std::vector<DeviceAddress> addresses(const std::vector<T*>& pointers) {
    std::vector<DeviceAddress> out;
    for (const T* pointer : pointers) out.push_back(address(pointer));
    return out;
  }
  static void read(const std::string& module, const py::object& list,
                   std::vector<TensorInfo>& tensors, std::vector<ExpertType>& types) {
    for (auto& [name, dims, type] : list.cast<std::vector<PyTensor>>()) {
      tensors.push_back({name, dims});
      types.push_back(expert_type(module.c_str(), type));
    }
  }

  const std::shared_ptr<Gpu> gpu_;
  EngineReport report_;
  py::object scratch_bytes_, enqueue_;
  std::vector<TensorInfo> inputs_, outputs_;
  std::vector<ExpertType> input_types_, output_types_;
};

class PyGpuDevice : public GpuDevice {
 public:
  PyGpuDevice(py::object executor, int index, int threads, int64_t memory_limit)
      : executor_(std::move(executor)),
        gpu_(open_cuda_gpu(index)),
        backend_(executor_.attr("backend").cast<std::string>()),
        name_(executor_.attr("device").cast<std::string>()),
        precision_(executor_.attr("precision").cast<std::string>()),
        largest_batch_(executor_.attr("largest_batch").cast<int>()),
        captures_(executor_.attr("captures").cast<bool>()),
        concurrent_(executor_.attr("concurrent").cast<bool>()),
        threads_(host_threads(threads)),
        memory_limit_(memory_limit) {
    if (largest_batch_ < 1 || (largest_batch_ & (largest_batch_ - 1))) {
      fail(ErrorKind::input, "gpu: expected a largest batch of a power of two, found ",
           largest_batch_, "; batches are run in buckets of 1, 2, 4, ...; give one of these");
    }
  }
  ~PyGpuDevice() override {
    const py::gil_scoped_acquire acquire;
    give_back_on(*gpu_, [&] { executor_ = py::object(); });
  }

  const std::string& backend() const override { return backend_; }
  const std::string& name() const override { return name_; }
  const std::string& precision() const override { return precision_; }
  int threads() const override { return threads_; }
  bool any_tile_size() const override { return false; }
  std::shared_ptr<Engine> load(const EngineSource& source) override {
    const py::gil_scoped_acquire acquire;
    const GpuUse use(*gpu_);
    return std::make_shared<PyGpuEngine>(
        source.module,
        executor_.attr("load")(source.module, source.onnx_path, source.onnx_sha256, source.inputs,
                               source.outputs),
        gpu_);
  }
  Gpu& gpu() const override { return *gpu_; }
  int largest_batch() const override { return largest_batch_; }
  int64_t memory_limit() const override { return memory_limit_of(*gpu_, memory_limit_); }
  bool captures() const override { return captures_; }
  bool concurrent() const override { return concurrent_; }

 private:
  py::object executor_;
  const std::shared_ptr<Gpu> gpu_;
  const std::string backend_, name_, precision_;
  const int largest_batch_;
  const bool captures_, concurrent_;
  const int threads_;
  const int64_t memory_limit_;
};

std::shared_ptr<Model> make_gpu_model(const Bundle& bundle, py::object executor, int index,
                                      int threads, int64_t memory_limit,
                                      const py::object& on_engine) {
  return std::make_shared<Model>(
      bundle, std::make_shared<PyGpuDevice>(std::move(executor), index, threads, memory_limit),
      [&](const EngineReport& report) {
        if (!on_engine.is_none()) on_engine(report);
      });
}

}  // namespace

void bind_gpu(py::module_& m) {
  m.attr("TENSORRT_GRAPH_VERSION") = kTensorRTGraphVersion;
  m.def("gpu_model", &make_gpu_model, py::arg("bundle"), py::arg("executor"), py::kw_only(),
        py::arg("index") = 0, py::arg("threads") = 0, py::arg("memory_limit") = 0,
        py::arg("on_engine") = py::none(),
        "A bundle's engines on GPU number `index`, loaded and queued by a "
        "`moediff_rt.gpu.Executor`; `threads` of the host, 0: all cores; `memory_limit` in bytes, "
        "0: nine tenths of what is free.");
}

}  // namespace mdr::bindings
