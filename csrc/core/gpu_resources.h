#pragma once

#include <cstdint>
#include <utility>

#include "backends/gpu.h"

namespace mdr {

// Something of a GPU that is given back with the owner's end.
template <void (Gpu::*kGiveBack)(void*) noexcept>
class GpuOwned {
 public:
  GpuOwned() = default;
  GpuOwned(Gpu& gpu, void* held) : gpu_(&gpu), held_(held) {}
  GpuOwned(GpuOwned&& other) noexcept
      : gpu_(other.gpu_), held_(std::exchange(other.held_, nullptr)) {}
  GpuOwned& operator=(GpuOwned&& other) noexcept {
    std::swap(gpu_, other.gpu_);
    std::swap(held_, other.held_);
    return *this;
  }
  ~GpuOwned() {
    if (held_) (gpu_->*kGiveBack)(held_);
  }
  void* get() const { return held_; }
  explicit operator bool() const { return held_ != nullptr; }

 private:
  Gpu* gpu_ = nullptr;
  void* held_ = nullptr;
};

using GpuMemory = GpuOwned<&Gpu::free>;
using PinnedMemory = GpuOwned<&Gpu::free_pinned>;
using GpuStreamHandle = GpuOwned<&Gpu::destroy_stream>;
using GpuEventHandle = GpuOwned<&Gpu::destroy_event>;
using GpuGraphHandle = GpuOwned<&Gpu::destroy_graph>;

// A capture that ends with its scope: an exception in between leaves no stream capturing.
class GpuCapture {
 public:
  GpuCapture(Gpu& gpu, GpuStream stream) : gpu_(gpu), stream_(stream) {
    gpu_.begin_capture(stream_);
  }
  GpuCapture(const GpuCapture&) = delete;
  GpuCapture& operator=(const GpuCapture&) = delete;
  ~GpuCapture() {
    if (ended_) return;
    try {
      if (const GpuGraph graph = gpu_.end_capture(stream_)) gpu_.destroy_graph(graph);
    } catch (...) {
      // What was thrown within is the error to tell of.
    }
  }
  GpuGraphHandle end() {
    ended_ = true;
    return {gpu_, gpu_.end_capture(stream_)};
  }

 private:
  Gpu& gpu_;
  const GpuStream stream_;
  bool ended_ = false;
};

}  // namespace mdr
