#include "core/memory.h"

#include <algorithm>

#include "core/enhance.h"
#include "core/error.h"
#include "core/foreground.h"
#include "core/planes.h"
#include "core/voxels.h"

namespace mdr {
namespace {

// A tile holds each tensor of its engines at most once, and a slice of the result may wait for each
// tile that has yet to read the input in its place (core/slice_blend.h).
int64_t bytes_per_tile(const Model& model, int64_t slice) {
  int64_t floats = 0;
  for (const auto& engine : model.engines()) {
    for (const TensorInfo& info : engine->inputs()) floats += info.elements();
    for (const TensorInfo& info : engine->outputs()) floats += info.elements();
  }
  return (floats + slice) * static_cast<int64_t>(sizeof(float));
}

// Voxels of the largest slice that tiles are blended into, of any plane.
int64_t largest_slice(const VolumeShape& out, const std::vector<int>& planes) {
  int64_t most = 0;
  for (const int plane : planes) {
    most = std::max(most, seen_in_plane(out, plane).slice());
  }
  return most;
}

// What the largest plane's list of tiles takes, thrice: it grows, and is handed on as a copy.
int64_t listed(const Bundle& bundle, const VolumeShape& out, const std::vector<int>& planes) {
  const auto along = [&](int64_t n, int tile) {
    const int stride = std::max(1, tile - bundle.tile_overlap);
    return (n + stride - 1) / stride + 1;
  };
  int64_t most = 0;
  for (const int plane : planes) {
    const VolumeShape seen = seen_in_plane(out, plane);
    most = std::max(most, seen.nz * along(seen.ny, bundle.smallest_tile.height) *
                              along(seen.nx, bundle.smallest_tile.width));
  }
  return 3 * most * static_cast<int64_t>(sizeof(Tile));
}

struct Peaks {
  int64_t before_tiles, beside_tiles, after_tiles;
};

constexpr int64_t kFloat = sizeof(float);

// Half-way from one grid to the other: the axis along which slices lie is first or last.
int64_t between(const VolumeShape& from, const VolumeShape& to) {
  return std::min(to.nz * from.slice(), from.nz * to.slice());
}

// What one thread holds to resample lines of n voxels to m: kLanes of them before, after twice, and
// up to as many again half-way.
int64_t lane_floats(int64_t n, int64_t m) { return n == m ? 0 : 16 * (2 * n + 3 * m + 16); }

// What core/resample.cpp holds beside volumes: lines, and slices half-way, of each thread, and for
// k-space a matrix an axis, made in twice its precision.
int64_t resampling(const VolumeShape& from, const VolumeShape& to, int threads) {
  const int64_t half_way = std::min(int64_t{from.ny} * to.nx, int64_t{to.ny} * from.nx);
  const int64_t in_slices = lane_floats(from.ny, to.ny) + lane_floats(from.nx, to.nx) + half_way;
  const int64_t busy = std::min(threads, (std::max(from.nz, to.nz) + 3) / 4);
  const int64_t each = std::max(busy * in_slices, threads * lane_floats(from.nz, to.nz));
  int64_t kept = 0, largest = 0;
  const auto matrix = [&](int64_t n, int64_t m) {
    if (n == m) return;
    const int64_t floats = (n + 8) * (m + 8) / 2;
    kept += floats;
    largest = std::max(largest, floats);
  };
  matrix(from.nz, to.nz);
  matrix(from.ny, to.ny);
  matrix(from.nx, to.nx);
  return std::max(each + kept, kept + 2 * largest) * kFloat;
}

// Bytes a block that core/foreground.cpp keeps, two masks, and that it takes to find them: means,
// those of the dark ones, and either's copy for percentiles; later a mask, labels, and cells to
// visit, in a list that grows.
constexpr int64_t kMasks = 2, kFindingMasks = 30;

int64_t blocks(const VolumeShape& in, const std::array<double, 3>& spacing_mm) {
  const auto [z, y, x] = block_voxels(spacing_mm);
  return int64_t{(in.nz + z - 1) / z} * ((in.ny + y - 1) / y) * ((in.nx + x - 1) / x);
}

// What core/order_statistics.cpp and core/noise_level.cpp hold: a histogram of each thread and
// three wider ones of all, and each thread's slices: the values of one, which grow to at most
// thrice that, and three of its detail, or the six of a layer of blocks.
int64_t measuring(const VolumeShape& in, int threads) {
  const int64_t busy = std::min(threads, in.nz);
  return (busy + 3 * 2) * (int64_t{1} << 18) + busy * 6 * in.slice() * kFloat;
}

// What core/pipeline.cpp holds at once, with the result that is kept from the caller until it is
// whole: to prepare (the scan in the model's unit), beside the tiles (the sums and weights of a
// slice, and slices that wait for neighbours to be read), and for data consistency (the scan again,
// what of it is missed, and the power of that or before it what of the scan is seen). With samples
// there are the interpolation, whose place the one result takes otherwise, and one more result to
// the end. Beside the tiles there is the volume as it is seen in each plane but the axial one.
Peaks peaks_of(const VolumeShape& in, const VolumeShape& out,
               const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
               const std::vector<int>& planes, const Bundle& bundle, int threads) {
  constexpr int64_t kSmall = int64_t{1} << 18;  // boxes, reports
  const int64_t scan = in.voxels() * kFloat, result = out.voxels() * kFloat;
  const int64_t more = options.samples > 1 ? result : 0;
  const int64_t turned = planes.size() - std::count(planes.begin(), planes.end(), 0);
  const VolumeShape seen{std::min(in.nz, out.nz), std::min(in.ny, out.ny), std::min(in.nx, out.nx)};
  const int64_t compared = 2 * seen.voxels() * kFloat;
  Peaks peaks;
  peaks.before_tiles =
      result + more + scan + kSmall +
      std::max(kFindingMasks * blocks(in, spacing_mm),
               kMasks * blocks(in, spacing_mm) +
                   std::max(between(in, out) * kFloat + resampling(in, out, threads),
                            measuring(in, threads)));
  // A slice of each thread is what turning a plane back takes after its tiles.
  const int64_t held_slices = std::max(3 + bundle.tile_slices / 2, turned > 0 ? threads : 0);
  peaks.beside_tiles = result + 2 * more + turned * result +
                       held_slices * largest_slice(out, planes) * kFloat +
                       listed(bundle, out, planes) + kSmall;
  peaks.after_tiles = result + 2 * more + kSmall;
  if (options.data_consistency) {
    peaks.after_tiles += scan + compared + 2 * threads * seen.slice() * kFloat +
                         between(out, seen) * kFloat +
                         std::max(resampling(out, seen, threads), resampling(seen, out, threads)) +
                         out.slice() * kFloat;
  }
  return peaks;
}

}  // namespace

int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
                 const std::vector<int>& planes, const PipelineOutput& kept, int threads) {
  const Bundle& bundle = model.bundle();
  const Peaks peaks = peaks_of(in, out, spacing_mm, options, planes, bundle, threads);
  // Gates of another plane than the axial one are turned back, one expert's at a time.
  const int64_t gate_maps = bundle.experts + (planes.front() > 0 ? 1 : 0);
  const int64_t maps =
      (kept.gates ? gate_maps * out.voxels() : 0) + (kept.deviation ? out.voxels() * kFloat : 0);
  const int64_t gate_sums =
      kept.gates ? (bundle.experts + 1) * largest_slice(out, planes) * kFloat : 0;
  const int64_t tile = bytes_per_tile(model, largest_slice(out, planes));
  const int64_t least = maps + std::max({peaks.before_tiles, peaks.beside_tiles + gate_sums + tile,
                                         peaks.after_tiles});
  if (limit < least) {
    fail(ErrorKind::memory, "expected a memory limit of ", least, " bytes (", least / 1e9,
         " GB) or more for an output of ", out.nx, " x ", out.ny, " x ", out.nz, ", found ", limit,
         "; the volume is probably too large for it; raise it, choose a coarser output, or enhance "
         "slabs of fewer slices");
  }
  const int64_t tiles = (limit - maps - gate_sums - peaks.beside_tiles) / tile;
  const int asked = options.sampling.batch;
  const int best =
      asked > 0 ? asked : default_batch(static_cast<const HostDevice&>(model.device()));
  return static_cast<int>(std::min<int64_t>(tiles, best));
}

}  // namespace mdr
