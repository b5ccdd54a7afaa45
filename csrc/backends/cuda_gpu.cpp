#include <cuda_runtime_api.h>

#include "backends/gpu.h"
#include "core/error.h"

namespace mdr {
namespace {

void check(const char* what, cudaError_t status) {
  if (status == cudaSuccess) return;
  const bool full = status == cudaErrorMemoryAllocation;
  fail(full ? ErrorKind::exhausted : ErrorKind::backend, "gpu: expected ", what,
       " to succeed, found ", cudaGetErrorString(status), " (", cudaGetErrorName(status),
       "); an earlier call on the GPU has probably failed, or its memory is full; run again with ",
       "less memory, or use the openvino backend");
}

cudaStream_t stream_of(GpuStream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(GpuEvent event) { return static_cast<cudaEvent_t>(event); }

int count_gpus() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  fail(ErrorKind::backend, "gpu: expected an NVIDIA driver, found ", cudaGetErrorString(status),
       "; it is probably missing or older than this build; install one or use the openvino ",
       "backend");
}

class CudaGpu : public Gpu {
 public:
  explicit CudaGpu(int index) : index_(index) {
    const int count = count_gpus();
    if (index < 0 || index >= count) {
      fail(ErrorKind::backend, "gpu: expected a GPU number from 0 to ", count - 1, ", found ",
           index, "; this computer has ", count, "; give another or use the openvino backend");
    }
    const GpuUse use(*this);
    check("cudaDeviceGetStreamPriorityRange",
          cudaDeviceGetStreamPriorityRange(&least_urgent_, &most_urgent_));
  }

  int use() override {
    int before = 0;
    check("cudaGetDevice", cudaGetDevice(&before));
    check("cudaSetDevice", cudaSetDevice(index_));
    return before;
  }
  void leave(int before) noexcept override {
    if (before != index_) cudaSetDevice(before);
  }
  int64_t free_memory() override {
    size_t available = 0, all = 0;
    check("cudaMemGetInfo", cudaMemGetInfo(&available, &all));
    return static_cast<int64_t>(available);
  }

  void* allocate(int64_t bytes) override {
    void* memory = nullptr;
    check("cudaMalloc", cudaMalloc(&memory, bytes));
    return memory;
  }
  void* allocate_pinned(int64_t bytes) override {
    void* memory = nullptr;
    check("cudaMallocHost", cudaMallocHost(&memory, bytes));
    return memory;
  }
  void free(void* memory) noexcept override { cudaFree(memory); }
  void free_pinned(void* memory) noexcept override { cudaFreeHost(memory); }

  GpuStream make_stream(bool urgent) override {
    cudaStream_t stream = nullptr;
    check("cudaStreamCreateWithPriority",
          cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                       urgent ? most_urgent_ : least_urgent_));
    return stream;
  }
  GpuEvent make_event() override {
    cudaEvent_t event = nullptr;
    // The host sleeps while it waits: its core has other work.
    check("cudaEventCreateWithFlags",
          cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
    return event;
  }
  void destroy_stream(GpuStream stream) noexcept override { cudaStreamDestroy(stream_of(stream)); }
  void destroy_event(GpuEvent event) noexcept override { cudaEventDestroy(event_of(event)); }

  void record(GpuEvent event, GpuStream stream) override {
    check("cudaEventRecord", cudaEventRecord(event_of(event), stream_of(stream)));
  }
  void wait(GpuStream stream, GpuEvent event) override {
    check("cudaStreamWaitEvent", cudaStreamWaitEvent(stream_of(stream), event_of(event), 0));
  }
  void synchronize(GpuEvent event) override {
    check("cudaEventSynchronize", cudaEventSynchronize(event_of(event)));
  }
  void drain(GpuStream stream) noexcept override { cudaStreamSynchronize(stream_of(stream)); }

  void begin_capture(GpuStream stream) override {
    // Thread-local: what other threads do with the GPU meanwhile is none of this capture's.
    check("cudaStreamBeginCapture",
          cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal));
  }
  GpuGraph end_capture(GpuStream stream) override {
    cudaGraph_t graph = nullptr;
    check("cudaStreamEndCapture", cudaStreamEndCapture(stream_of(stream), &graph));
    cudaGraphExec_t ready = nullptr;
    const cudaError_t status = cudaGraphInstantiateWithFlags(&ready, graph, 0);
    cudaGraphDestroy(graph);
    check("cudaGraphInstantiate", status);
    return ready;
  }
  void launch(GpuGraph graph, GpuStream stream) override {
    check("cudaGraphLaunch",
          cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)));
  }
  void destroy_graph(GpuGraph graph) noexcept override {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }

  void fill_zero(void* device, int64_t bytes, GpuStream stream) override {
    check("cudaMemsetAsync", cudaMemsetAsync(device, 0, bytes, stream_of(stream)));
  }
  void upload(void* device, const void* pinned, int64_t bytes, GpuStream stream) override {
    check("cudaMemcpyAsync",
          cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, stream_of(stream)));
  }
  void download(void* pinned, const void* device, int64_t bytes, GpuStream stream) override {
    check("cudaMemcpyAsync",
          cudaMemcpyAsync(pinned, device, bytes, cudaMemcpyDeviceToHost, stream_of(stream)));
  }
  void copy_rows(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes,
                 int rows, GpuStream stream) override {
    check("cudaMemcpy2DAsync", cudaMemcpy2DAsync(to, to_stride, from, from_stride, bytes, rows,
                                                 cudaMemcpyDeviceToDevice, stream_of(stream)));
  }

  void start_latent(const LatentShape& shape, const StartScalars& scalars,
                    const StartLatentDeviceBatch& batch, GpuStream stream) override {
    start_latent_cuda(shape, scalars, batch, stream);
  }
  void gather_rows(const GatherRowsDeviceBatch& batch, GpuStream stream) override {
    gather_rows_cuda(batch, stream);
  }
  void gated_step(const GatedStepShape& shape, const GatedStepScalars& scalars,
                  const GatedStepDeviceBatch& batch, GpuStream stream) override {
    gated_step_cuda(shape, scalars, batch, stream);
  }

 private:
  const int index_;
  int least_urgent_ = 0, most_urgent_ = 0;
};

}  // namespace

std::vector<GpuIdentity> list_cuda_gpus() {
  std::vector<GpuIdentity> gpus(count_gpus());
  for (size_t i = 0; i < gpus.size(); ++i) {
    cudaDeviceProp properties;
    check("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, static_cast<int>(i)));
    gpus[i] = {properties.name, properties.major, properties.minor};
  }
  return gpus;
}

std::unique_ptr<Gpu> open_cuda_gpu(int index) { return std::make_unique<CudaGpu>(index); }

}  // namespace mdr
