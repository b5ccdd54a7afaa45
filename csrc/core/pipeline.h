#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/enhance.h"
#include "core/output_grid.h"

namespace mdr {

struct PipelineOptions {
  EnhanceOptions sampling;       // with several samples, `seed` is that of the first
  double output_spacing_mm = 0;  // 0: half the smallest input edge, within the bundle's range
  // Results averaged, with the seeds from `sampling.seed` on, each of the volume as
  // flip_of_sample() has it.
  int samples = 1;
  int planes = 0;  // that slices are enhanced in; 0: see choose_planes()
  bool data_consistency = true;
  // What is otherwise measured in the scan, in its unit; 0: measured. For slabs of one scan, which
  // are to be treated alike.
  double intensity_level = 0;  // the bundle's percentile of the foreground
  double noise_sigma = 0;      // standard deviation of the noise
  double slice_profile = 0;    // width along the coarsest axis, in slice distances; below 0: none
  // Bytes that a run on a CPU may take beside the scan and the engines; 0: no limit.
  int64_t memory_limit = 0;
};

// Intensities in the scan's unit.
struct PipelineReport {
  VolumeShape output;
  std::array<double, 3> spacing_mm{};  // of the output, along z, y, x
  double intensity_level = 0;          // found in the scan, or given; like the next
  double noise_sigma = 0;              // standard deviation
  double slice_profile = -1;  // width, found or given; below 0: none, or no data consistency
  std::optional<double> largest_correction;  // by data consistency; none without it
  int steps = 0;
  std::vector<int> planes;  // each 0, 1 or 2: the axis of (z, y, x) that its slices lie along
  std::vector<TileSize> tile_sizes;  // of the first plane's
  int tiles = 0;                     // of all samples and planes, like the two below
  int64_t expert_calls = 0;
  int64_t expert_calls_saved = 0;
  // "prepare", "model" and "consistency" (time that passed), and "model.STAGE" for each stage of
  // EnhanceReport; in this order.
  std::vector<std::pair<std::string, double>> seconds;
};

// Where the results go, all on the output's grid and in C order, x fastest.
struct PipelineOutput {
  float* volume = nullptr;   // (nz, ny, nx), always there
  uint8_t* gates = nullptr;  // null, or (experts, nz, ny, nx): those of the first sample, in 1/255
  float* deviation = nullptr;  // null, or (nz, ny, nx): the samples' standard deviation; 0 of one
};

// The whole way: intensity scale, foreground, interpolation, enhance(), data consistency, and back
// to the scan's unit. `scan` is (nz, ny, nx), x fastest, axes near RAS+ with z from foot to head,
// finite, in any unit. It is read to the end: `out`, of the shape that output_shape() gives, must
// not overlap it. `threads` 0 means those of the model's device; the result is the same for any
// number. Throws Error(ErrorKind::input) for a scan or a setting that cannot be used, before
// anything is written, and Error(ErrorKind::memory) for a memory limit that is too low, before
// anything is run; what enhance() throws; and what the observer throws, which is polled
// throughout. On an error the contents of `out` are undefined.
PipelineReport enhance_scan(const Model& model, const float* scan, const VolumeShape& shape,
                            const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
                            const PipelineOutput& out, const EnhanceObserver& observer,
                            int threads = 0);

}  // namespace mdr
