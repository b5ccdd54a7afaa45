#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/error.h"
#include "core/one_at_a_time.h"
#include "ops/gated_step.h"
#include "ops/gather_rows.h"
#include "ops/start_latent.h"

namespace mdr {

using GpuStream = void*;
using GpuEvent = void*;
using GpuGraph = void*;

// A GPU as the scheduler uses it. What takes a stream is only queued: it runs later, after all that
// was queued on that stream before; events order streams among each other. Everything throws
// Error(ErrorKind::backend) when it fails, but what gives memory or handles back.
class Gpu {
 public:
  virtual ~Gpu() = default;

  // Makes it the calling thread's GPU, which all below needs, and returns the one before, for
  // leave(). See GpuUse.
  virtual int use() = 0;
  virtual void leave(int before) noexcept = 0;
  // Device memory that could be had now, bytes.
  virtual int64_t free_memory() = 0;

  virtual void* allocate(int64_t bytes) = 0;         // device memory, on a 256-byte boundary
  virtual void* allocate_pinned(int64_t bytes) = 0;  // host memory that copies may use
  virtual void free(void* memory) noexcept = 0;
  virtual void free_pinned(void* memory) noexcept = 0;

  virtual GpuStream make_stream(bool urgent) = 0;
  virtual GpuEvent make_event() = 0;
  virtual void destroy_stream(GpuStream stream) noexcept = 0;
  virtual void destroy_event(GpuEvent event) noexcept = 0;

  virtual void record(GpuEvent event, GpuStream stream) = 0;
  // What is queued on `stream` from now on runs after what the event's last record() came after.
  virtual void wait(GpuStream stream, GpuEvent event) = 0;
  // The host waits for the event, or for all that is queued on the stream, be it to no avail.
  virtual void synchronize(GpuEvent event) = 0;
  virtual void drain(GpuStream stream) noexcept = 0;

  // From begin to end, what this thread queues on `stream`, and on streams that wait for events
  // recorded within, is not run but kept in a graph. end_capture() ends it whatever went wrong in
  // between, and throws if something did.
  virtual void begin_capture(GpuStream stream) = 0;
  virtual GpuGraph end_capture(GpuStream stream) = 0;
  virtual void launch(GpuGraph graph, GpuStream stream) = 0;
  virtual void destroy_graph(GpuGraph graph) noexcept = 0;

  virtual void fill_zero(void* device, int64_t bytes, GpuStream stream) = 0;
  virtual void upload(void* device, const void* pinned, int64_t bytes, GpuStream stream) = 0;
  virtual void download(void* pinned, const void* device, int64_t bytes, GpuStream stream) = 0;
  // `rows` rows of `bytes`, both in device memory, that start as many bytes apart as the strides.
  virtual void copy_rows(void* to, int64_t to_stride, const void* from, int64_t from_stride,
                         int64_t bytes, int rows, GpuStream stream) = 0;

  virtual void start_latent(const LatentShape& shape, const StartScalars& scalars,
                            const StartLatentDeviceBatch& batch, GpuStream stream) = 0;
  virtual void gather_rows(const GatherRowsDeviceBatch& batch, GpuStream stream) = 0;
  virtual void gated_step(const GatedStepShape& shape, const GatedStepScalars& scalars,
                          const GatedStepDeviceBatch& batch, GpuStream stream) = 0;
};

// A GPU is the calling thread's for a scope; after it, the one before is again. The thread is
// another program's.
class GpuUse {
 public:
  explicit GpuUse(Gpu& gpu) : gpu_(gpu), before_(gpu.use()) {}
  ~GpuUse() { gpu_.leave(before_); }
  GpuUse(const GpuUse&) = delete;
  GpuUse& operator=(const GpuUse&) = delete;

 private:
  Gpu& gpu_;
  const int before_;
};

// For destructors: gives back on its GPU what `give_back` does. Where that cannot be had any more,
// there is nothing left to give back.
template <typename GiveBack>
void give_back_on(Gpu& gpu, GiveBack&& give_back) noexcept {
  try {
    const GpuUse use(gpu);
    give_back();
  } catch (const Error&) {
  }
}

// A compiled module on a GPU.
class GpuEngine : public Engine {
 public:
  // Element types of inputs() and outputs().
  virtual const std::vector<ExpertType>& input_types() const = 0;
  virtual const std::vector<ExpertType>& output_types() const = 0;
  // Device memory that enqueue() needs beside the tensors, for a batch.
  virtual int64_t scratch_bytes(int batch) const = 0;
  // Queues the module on `stream`. `batch` is a power of two up to the device's largest; tensors
  // lie in device memory, in the order of inputs() and outputs(). Within a capture it is only
  // called for batches that it was called for before outside of one, with the same pointers.
  virtual void enqueue(int batch, const std::vector<const void*>& inputs,
                       const std::vector<void*>& outputs, void* scratch, GpuStream stream) = 0;
};

// Its load() gives GpuEngines.
class GpuDevice : public Device {
 public:
  virtual Gpu& gpu() const = 0;
  virtual int largest_batch() const = 0;     // of one call, a power of two
  virtual int64_t memory_limit() const = 0;  // bytes that one enhance() may take on the device
  // Whether calls of engines may be captured in a graph.
  virtual bool captures() const = 0;
  // Whether the experts run side by side, each on a stream and in scratch of its own.
  virtual bool concurrent() const = 0;
  // Used by a run: engines keep what they were last called with, so its runs follow each other.
  OneAtATime& runs() const { return runs_; }

 private:
  mutable OneAtATime runs_;
};

// Bytes that a run may take where `asked` were asked for; 0: nine tenths of what is free.
inline int64_t memory_limit_of(Gpu& gpu, int64_t asked) {
  return asked > 0 ? asked : gpu.free_memory() / 10 * 9;
}

// What a GPU calls itself, and its compute capability.
struct GpuIdentity {
  std::string name;
  int major = 0, minor = 0;
  // Its generation as builders of engines name it: "sm89".
  std::string target() const { return "sm" + std::to_string(major) + std::to_string(minor); }
};

// The computer's GPUs through the CUDA runtime, and number `index` of them, opened. Both throw
// Error(ErrorKind::backend) when there is none, or this build has no CUDA.
std::vector<GpuIdentity> list_cuda_gpus();
std::unique_ptr<Gpu> open_cuda_gpu(int index);

}  // namespace mdr
