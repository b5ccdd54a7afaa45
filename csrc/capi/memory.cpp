#include "capi/memory.h"

#include <algorithm>

#include "capi/status.h"
#include "core/voxels.h"

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

// Half-way from one grid to the other: the axis along which slices lie is first or last.
int64_t between(const VolumeShape& from, const VolumeShape& to) {
  return std::min(to.nz * from.slice(), from.nz * to.slice());
}

// What core/pipeline.cpp holds at once, with the result that is kept from the caller until it is
// whole: to prepare (the scan in the model's unit, its interpolation), beside the tiles (the
// interpolation), and for data consistency (the scan again, and what of it is seen). With samples
// there are the interpolation and one more result to the end.
Peaks peaks_of(const VolumeShape& in, const VolumeShape& out, const PipelineOptions& options,
               int threads) {
  constexpr int64_t kFloat = sizeof(float);
  // Histograms of voxels; rows and slices under way are less.
  const int64_t working = (threads + 2) * (int64_t{1} << 19);
  const int64_t scan = in.voxels() * kFloat, result = out.voxels() * kFloat;
  const int64_t more = options.samples > 1 ? result : 0;
  const VolumeShape seen{std::min(in.nz, out.nz), std::min(in.ny, out.ny), std::min(in.nx, out.nx)};
  const int64_t residual = (seen == in ? 1 : 2) * seen.voxels() * kFloat;
  Peaks peaks;
  peaks.before_tiles = 2 * result + scan + between(in, out) * kFloat + working;
  peaks.beside_tiles = 2 * result + more + working;
  peaks.after_tiles = result + 2 * more + working;
  if (options.data_consistency) {
    peaks.after_tiles += scan + residual + between(out, seen) * kFloat;
  }
  return peaks;
}

}  // namespace

int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const PipelineOptions& options, int asked) {
  const Peaks peaks = peaks_of(in, out, options, model.device().threads());
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
