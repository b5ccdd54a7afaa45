#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backends/gpu.h"
#include "core/enhance.h"
#include "core/gpu_layout.h"
#include "core/gpu_resources.h"
#include "core/slice_blend.h"
#include "core/tile_plan.h"

namespace mdr {

// Runs all tiles of one enhance() call on a GPU, in batches. A batch goes through three parts: its
// front (read, upload, encoder, conditioner, gate), the plan made from its gates, and its loop
// (start, all steps, decoder, download). The front of the next batch is queued before the loop of
// this one, so its gates are there in time, and the host blends the last batch meanwhile.
//
// In each step the experts run on streams of their own, forked from the main stream and joined
// before the fused step, or all on the main stream where the device is not concurrent. A loop of
// one shape is captured when it comes up again, and replayed. Made, run and destroyed on one
// thread.
class GpuScheduler {
 public:
  // `batch`: tiles of one batch at most, or 0 for what the device can take.
  GpuScheduler(const TilePlan& plan, std::vector<Tile> tiles, int batch, SliceBlend& blend);
  ~GpuScheduler();

  EnhanceReport run(const EnhanceObserver& observer);

 private:
  // What a batch needs of its own, on the device (offsets in `layout_`) and in pinned memory.
  struct Lane {
    PinnedMemory slices, gates, origins, slots, image;
    std::vector<Tile> tiles;
    std::vector<int> batches;  // tiles that each expert runs for
    GpuEventHandle uploaded, gated, decoded, returned;
  };
  // What a captured loop depends on: the lane, the tiles' bucket, and each expert's.
  using Shape = std::vector<int>;

  int batches() const {
    return static_cast<int>((tiles_.size() + layout_.batch - 1) / layout_.batch);
  }
  Lane& lane(int batch) { return lanes_[batch % kGpuLanes]; }
  const GpuLayout::Lane& places(int batch) const { return layout_.lanes[batch % kGpuLanes]; }
  template <typename T = float>
  T* at(int64_t offset) const;

  void upload_timesteps();
  void queue_front(int batch);
  void plan_dispatch(int batch);
  void queue_loop(int batch);
  void enqueue_loop(int batch, int bucket);
  void enqueue_start(int batch, int bucket);
  void enqueue_experts(int batch, int bucket, int step);
  void enqueue_step(int batch, int bucket, int step);
  // `unread`: the first batch whose slices were not read yet.
  void collect(int batch, int unread);
  bool whole(int batch, int expert) const;
  void* expert_state(int batch, int expert) const;

  const TilePlan& plan_;
  const Bundle& bundle_;
  const GpuDevice& device_;
  Gpu& gpu_;
  const GpuUse use_;
  const std::vector<Tile> tiles_;
  SliceBlend& blend_;
  const GpuLayout layout_;
  const int64_t image_size_, slices_size_, latent_size_, condition_size_, gate_size_;
  const ExpertType expert_type_;

  GpuMemory memory_;
  GpuStreamHandle main_, upload_, download_;
  std::vector<GpuStreamHandle> expert_streams_;
  GpuEventHandle forked_;
  std::vector<GpuEventHandle> joined_;
  PinnedMemory timesteps_;
  std::vector<Lane> lanes_;
  std::map<Shape, GpuGraphHandle> graphs_;  // null once the shape has run, until it is captured
  EnhanceReport report_;
};

}  // namespace mdr
