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

// The scan in the model's unit and its interpolation, beside the result. With data consistency two
// volumes more for the way between the grids; with samples two for their mean and spread.
int64_t bytes_of_volumes(const VolumeShape& in, const VolumeShape& out,
                         const PipelineOptions& options) {
  const int64_t more = (options.data_consistency ? 2 : 0) + (options.samples > 1 ? 2 : 0);
  return (in.voxels() * 2 + out.voxels() * (2 + more)) * static_cast<int64_t>(sizeof(float));
}

}  // namespace

int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const PipelineOptions& options, int asked) {
  if (asked < 0) return asked;  // refused by the core
  const int64_t volumes = bytes_of_volumes(in, out, options);
  const int64_t tile = bytes_per_tile(model);
  const int64_t tiles = (limit - volumes) / tile;
  if (limit < volumes + tile) {
    refuse(MDR_OUT_OF_MEMORY, "mdr_enhance: expected a memory limit of ", volumes + tile,
           " bytes or more for an output of ", out.nx, " x ", out.ny, " x ", out.nz, ", found ",
           limit,
           "; the volume is probably too large for it; raise it, choose a coarser output, or "
           "enhance slabs of fewer slices");
  }
  const int best =
      asked > 0 ? asked : default_batch(static_cast<const HostDevice&>(model.device()));
  return static_cast<int>(std::min<int64_t>(tiles, best));
}

}  // namespace mdr::capi
