#include "capi/memory.h"

#include <algorithm>

#include "capi/status.h"

namespace mdr::capi {
namespace {

// A tile holds each tensor of its engines at most once.
int64_t bytes_per_tile(const Model& model) {
  int64_t floats = 0;
  for (const auto& engine : model.engines()) {
    for (const TensorInfo& info : engine->inputs()) floats += info.elements();
    for (const TensorInfo& info : engine->outputs()) floats += info.elements();
  }
  return floats * static_cast<int64_t>(sizeof(float));
}

struct Peaks {
  int64_t before_tiles, beside_tiles, after_tiles;
};

// What core/pipeline.cpp holds at once, with the result that is kept from the caller until it is
// whole: preparing (the scan in the model's unit, its interpolation, half-way or sorted voxels),
// enhancing (the interpolation), and data consistency (the scan again, what of it is seen).
Peaks peaks_of(const VolumeShape& in, const VolumeShape& out, const PipelineOptions& options) {
  constexpr int64_t kFloat = sizeof(float);
  const int64_t scan = in.voxels() * kFloat, result = out.voxels() * kFloat;
  const int64_t more = options.samples > 1 ? result : 0;
  const int64_t seen = options.data_consistency ? 2 * std::min(scan, result) : 0;
  return {2 * result + scan + std::max(scan, result), 2 * result + more,
          2 * result + 2 * more + scan + seen};
}

}  // namespace

int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const PipelineOptions& options, int asked) {
  if (asked < 0) return asked;  // refused by the core
  const Peaks peaks = peaks_of(in, out, options);
  const int64_t tile = bytes_per_tile(model);
  const int64_t least =
      std::max({peaks.before_tiles, peaks.beside_tiles + tile, peaks.after_tiles});
  if (limit < least) {
    refuse(MDR_OUT_OF_MEMORY, "mdr_enhance: expected a memory limit of ", least,
           " bytes or more for an output of ", out.nx, " x ", out.ny, " x ", out.nz, ", found ",
           limit,
           "; the volume is probably too large for it; raise it, choose a coarser output, or "
           "enhance slabs of fewer slices");
  }
  const int64_t tiles = (limit - peaks.beside_tiles) / tile;
  const int best =
      asked > 0 ? asked : default_batch(static_cast<const HostDevice&>(model.device()));
  return static_cast<int>(std::min<int64_t>(tiles, best));
}

}  // namespace mdr::capi
