#include "capi/enhance.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "backends/gpu.h"
#include "capi/device_copy.h"
#include "capi/status.h"
#include "capi/watch.h"
#include "core/pipeline.h"

namespace mdr::capi {
namespace {

// A run among those under way that share an engine.
class Share {
 public:
  explicit Share(LoadedEngine& engine)
      : engine_(engine), threads_(engine.model->device().threads() / ++engine.runs) {}
  ~Share() { --engine_.runs; }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  // This run's part of the host's threads.
  int threads() const { return std::max(1, threads_); }

 private:
  LoadedEngine& engine_;
  const int threads_;
};

struct CoreGrid {
  VolumeShape shape;
  std::array<double, 3> spacing;  // z, y, x
};

CoreGrid core_grid(const mdr_grid& grid) {
  for (const int32_t n : {grid.nx, grid.ny, grid.nz}) {
    if (n >= 1) continue;  // output_shape() knows the limits
    fail(ErrorKind::input, "grid: expected at least 1 voxel along each axis, found ", grid.nx,
         " x ", grid.ny, " x ", grid.nz,
         "; the grid was probably not filled in; set nx, ny and nz");
  }
  const double* mm = grid.voxel_mm;
  for (int axis = 0; axis < 3; ++axis) {
    if (std::isfinite(mm[axis]) && mm[axis] > 0) continue;
    fail(ErrorKind::input, "grid: expected voxel edges above zero in mm, found ", mm[0], " x ",
         mm[1], " x ", mm[2], "; the grid was probably not filled in; set voxel_mm");
  }
  return {{grid.nz, grid.ny, grid.nx}, {mm[2], mm[1], mm[0]}};
}

const GpuDevice* gpu_for(const LoadedEngine& engine, int32_t memory) {
  if (memory == MDR_HOST_MEMORY) return nullptr;
  const Device& device = engine.model->device();
  if (memory != MDR_DEVICE_MEMORY) {
    refuse(MDR_INVALID_ARGUMENT, kEnhance,
           ": expected MDR_HOST_MEMORY or MDR_DEVICE_MEMORY, found ", memory,
           "; probably never set; start from mdr_enhance_default_params()");
  }
  if (const auto* gpu = dynamic_cast<const GpuDevice*>(&device)) return gpu;
  fail(
      ErrorKind::backend, kEnhance, ": expected volumes in host memory with ", device.backend(),
      ", found MDR_DEVICE_MEMORY; it works on the CPU; copy the scan to host memory first, or load "
      "the engine with a tensorrt backend");
}

PipelineOptions options_of(const mdr_enhance_params& params) {
  PipelineOptions options;
  options.sampling.steps = params.steps;
  options.sampling.seed = params.seed;
  options.sampling.batch = params.tiles;
  options.output_spacing_mm = params.output_mm;
  options.samples = params.samples;
  options.planes = params.planes;
  options.intensity_level = params.intensity_level;
  options.noise_sigma = params.noise_sigma;
  options.slice_profile = params.slice_profile;
  options.data_consistency = params.data_consistency != 0;
  return options;
}

}  // namespace

mdr_grid output_grid(const Bundle& bundle, const mdr_grid& scan, const mdr_enhance_params& params) {
  const CoreGrid from = core_grid(scan);
  const VolumeShape to = output_shape(bundle, from.shape, from.spacing, params.output_mm);
  return {to.nx,
          to.ny,
          to.nz,
          {scan.nx * scan.voxel_mm[0] / to.nx, scan.ny * scan.voxel_mm[1] / to.ny,
           scan.nz * scan.voxel_mm[2] / to.nz}};
}

mdr_report enhance(LoadedEngine& engine, const float* scan, const mdr_grid& grid,
                   const mdr_enhance_params& params, float* out, size_t out_voxels) {
  Watch watch(params);
  watch.look();
  const Model& model = *engine.model;
  const CoreGrid from = core_grid(grid);
  PipelineOptions options = options_of(params);
  const GpuDevice* const gpu = gpu_for(engine, params.memory);
  mdr_report report{};
  report.struct_size = sizeof report;
  report.output = output_grid(model.bundle(), grid, params);
  const VolumeShape to{report.output.nz, report.output.ny, report.output.nx};
  if (out_voxels != static_cast<size_t>(to.voxels())) {
    refuse(MDR_INVALID_ARGUMENT, kEnhance, ": expected room for ", to.nx, " x ", to.ny, " x ",
           to.nz, " = ", to.voxels(), " voxels in out, found ", out_voxels,
           "; it was probably made for other settings; ask mdr_output_grid() with the same params");
  }
  options.memory_limit = engine.memory_limit;

  const Share share(engine);
  std::vector<float> fetched;
  if (gpu) {
    fetched.resize(from.shape.voxels());
    from_device(gpu->gpu(), scan, from.shape.voxels(), params.stream, fetched.data());
    scan = fetched.data();
  }
  // The caller's memory is left alone until everything went well.
  const std::unique_ptr<float[]> result(new float[to.voxels()]);
  EnhanceObserver observer;
  observer.poll = [&] { watch.look(); };
  observer.on_engine = [&](const EngineReport& report) { tell(engine.log, report); };
  observer.progress = [&](int done, int total) { watch.progress(done, total); };
  PipelineOutput output;
  output.volume = result.get();
  const PipelineReport made = enhance_scan(model, scan, from.shape, from.spacing, options, output,
                                           observer, share.threads());
  watch.look();
  if (gpu) {
    to_device(gpu->gpu(), result.get(), to.voxels(), params.stream, out);
  } else {
    std::copy_n(result.get(), to.voxels(), out);
  }
  report.intensity_level = made.intensity_level;
  report.noise_sigma = made.noise_sigma;
  report.slice_profile = made.slice_profile;
  report.largest_correction = made.largest_correction.value_or(0);
  report.expert_calls = made.expert_calls;
  report.expert_calls_saved = made.expert_calls_saved;
  report.tiles = made.tiles;
  report.planes = static_cast<int32_t>(made.planes.size());
  report.seconds = watch.seconds();
  engine.log(MDR_LOG_INFO, "enhanced ", grid.nx, " x ", grid.ny, " x ", grid.nz, " to ", to.nx,
             " x ", to.ny, " x ", to.nz, " in ", seconds_text(report.seconds), ", ", report.tiles,
             " tiles");
  return report;
}

}  // namespace mdr::capi
