#include "capi/device_copy.h"

#include <algorithm>
#include <cstring>

#include "core/gpu_resources.h"

namespace mdr::capi {
namespace {

constexpr int64_t kPiece = int64_t{4} << 20;  // floats

class Pieces {
 public:
  Pieces(Gpu& gpu, int64_t count, GpuStream stream)
      : gpu_(gpu),
        use_(gpu),
        count_(count),
        stream_(stream),
        pinned_(gpu, gpu.allocate_pinned(std::min(kPiece, count) * sizeof(float))),
        copied_(gpu, gpu.make_event()) {}
  ~Pieces() { gpu_.drain(stream_); }

  float* pinned() const { return static_cast<float*>(pinned_.get()); }
  void wait() {
    gpu_.record(copied_.get(), stream_);
    gpu_.synchronize(copied_.get());
  }
  template <typename Body>
  void each(Body&& body) {
    for (int64_t at = 0; at < count_; at += kPiece) body(at, std::min(kPiece, count_ - at));
  }

 private:
  Gpu& gpu_;
  const GpuUse use_;
  const int64_t count_;
  const GpuStream stream_;
  const PinnedMemory pinned_;
  const GpuEventHandle copied_;
};

}  // namespace

void from_device(Gpu& gpu, const float* device, int64_t count, GpuStream stream, float* host) {
  Pieces pieces(gpu, count, stream);
  pieces.each([&](int64_t at, int64_t size) {
    gpu.download(pieces.pinned(), device + at, size * sizeof(float), stream);
    pieces.wait();
    std::memcpy(host + at, pieces.pinned(), size * sizeof(float));
  });
}

void to_device(Gpu& gpu, const float* host, int64_t count, GpuStream stream, float* device) {
  Pieces pieces(gpu, count, stream);
  pieces.each([&](int64_t at, int64_t size) {
    std::memcpy(pieces.pinned(), host + at, size * sizeof(float));
    gpu.upload(device + at, pieces.pinned(), size * sizeof(float), stream);
    pieces.wait();
  });
}

}  // namespace mdr::capi
