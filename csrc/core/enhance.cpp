#include "core/enhance.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "core/error.h"
#include "core/gpu_scheduler.h"
#include "core/scheduler.h"

namespace mdr {
namespace {

constexpr int kMaxBatch = 1024;

void check_volume(const VolumeShape& shape, const std::vector<Box>& boxes) {
  if (shape.nz < 1 || shape.ny < 1 || shape.nx < 1) {
    fail(ErrorKind::input, "enhance: expected a volume with voxels, found shape (", shape.nz, ", ",
         shape.ny, ", ", shape.nx, "); the scan is probably empty; give another");
  }
  if (static_cast<int>(boxes.size()) != shape.nz) {
    fail(ErrorKind::input, "enhance: expected one box per slice, ", shape.nz, ", found ",
         boxes.size(), "; the boxes are probably of another volume; compute them from this one");
  }
  for (size_t z = 0; z < boxes.size(); ++z) {
    const Box& box = boxes[z];
    if (box.empty() || (box.y0 >= 0 && box.x0 >= 0 && box.y1 <= shape.ny && box.x1 <= shape.nx)) {
      continue;
    }
    fail(ErrorKind::input, "enhance: expected a box within ", shape.ny, " x ", shape.nx,
         ", found [", box.y0, ", ", box.y1, ", ", box.x0, ", ", box.x1, ") for slice ", z,
         "; the boxes are probably of another volume; compute them from this one");
  }
}

int start_timestep(const Bundle& bundle, const EnhanceOptions& options, bool from_noise) {
  const int last = static_cast<int>(bundle.alphas_cumprod.size()) - 1;
  if (from_noise && options.start_timestep < 0) return last;
  const int start =
      options.start_timestep < 0 ? bundle.sampler.start_timestep : options.start_timestep;
  if (start > last || (from_noise && start != last)) {
    fail(ErrorKind::input, "enhance: expected a start timestep ", from_noise ? "of " : "from 0 to ",
         last, ", found ", start,
         from_noise ? "; pure noise is only there at the last timestep; leave it out"
                    : "; the schedule has no more; give a smaller one");
  }
  return start;
}

TilePlan make_plan(const Model& model, const float* volume, const VolumeShape& shape,
                   const EnhanceOptions& options) {
  const Bundle& bundle = model.bundle();
  const std::string start = options.start.empty() ? bundle.sampler.start : options.start;
  if (start != kStartLowField && start != kStartNoise) {
    fail(ErrorKind::input, "enhance: expected start low_field or noise, found ", start,
         "; probably mistyped; give one of the two");
  }
  TilePlan plan;
  plan.model = &model;
  plan.volume = volume;
  plan.shape = shape;
  plan.seed = options.seed;
  plan.start_from_noise = start == kStartNoise;
  const double threshold =
      options.gate_threshold < 0 ? bundle.gate_threshold : options.gate_threshold;
  check_gate_threshold(threshold, bundle.experts);
  plan.gate_threshold = static_cast<float>(threshold);
  const int steps = options.steps == 0 ? bundle.sampler.steps : options.steps;
  const int first = start_timestep(bundle, options, plan.start_from_noise);
  plan.timesteps = timesteps(steps, first);
  plan.coefficients =
      step_coefficients(options.method.empty() ? bundle.sampler.method : options.method,
                        bundle.alphas_cumprod, steps, first, bundle.sampler.eta);
  plan.start_alpha = bundle.alphas_cumprod[first];
  return plan;
}

void check_batch(int batch) {
  if (batch >= 0 && batch <= kMaxBatch) return;
  fail(ErrorKind::input, "enhance: expected a batch of 0 (automatic) to ", kMaxBatch, ", found ",
       batch, "; probably mistyped; give a number of tiles");
}

// Their sizes in the order in which they come; the largest where there are no tiles.
std::vector<TileSize> sizes_of(const std::vector<Tile>& tiles, TileSize largest) {
  std::vector<TileSize> sizes;
  for (const Tile& tile : tiles) {
    if (std::find(sizes.begin(), sizes.end(), tile.size) == sizes.end()) sizes.push_back(tile.size);
  }
  if (sizes.empty()) sizes.push_back(largest);
  return sizes;
}

std::vector<Tile> tiling(const Model& model, const VolumeShape& shape,
                         const std::vector<Box>& boxes) {
  const Bundle& bundle = model.bundle();
  const TileSpacing spacing{bundle.tile_overlap, bundle.align_y(), bundle.align_x()};
  const bool any_size = model.device().any_tile_size();
  return list_tiles(shape, boxes,
                    any_size ? fit_tiles(shape, boxes, bundle.tile_sizes(), spacing)
                             : std::vector<TileSize>(boxes.size(), bundle.tile()),
                    spacing);
}

// `plans`: one for each of the tiles' sizes; on a GPU there is but one.
EnhanceReport run(const std::vector<TilePlan>& plans, const std::vector<Tile>& tiles, int batch,
                  SliceBlend& blend, const EnhanceObserver& observer) {
  const Device& device = plans.front().model->device();
  if (const auto* gpu = dynamic_cast<const GpuDevice*>(&device)) {
    const OneAtATime::Use use(gpu->runs(), observer.poll);
    return GpuScheduler(plans.front(), tiles, batch, blend).run(observer);
  }
  const int tiles_under_way =
      batch > 0 ? batch : default_batch(dynamic_cast<const HostDevice&>(device));
  return std::make_shared<Scheduler>(plans, tiles, tiles_under_way, blend)->run(observer);
}

}  // namespace

int default_batch(const HostDevice& device) {
  return std::max({8, 2 * device.threads(), 2 * device.tiles_per_request()});
}

void check_options(const Model& model, const EnhanceOptions& options) {
  check_batch(options.batch);
  make_plan(model, nullptr, {}, options);
}

int count_tiles(const Model& model, const VolumeShape& shape, const std::vector<Box>& boxes) {
  check_volume(shape, boxes);
  return static_cast<int>(tiling(model, shape, boxes).size());
}

EnhanceReport enhance(const Model& model, const float* volume, const VolumeShape& shape,
                      const std::vector<Box>& boxes, const EnhanceOptions& options, float* out,
                      uint8_t* gates, const EnhanceObserver& observer) {
  const auto begin = std::chrono::steady_clock::now();
  check_volume(shape, boxes);
  check_batch(options.batch);
  const TilePlan plan = make_plan(model, volume, shape, options);
  const std::vector<Tile> tiles = tiling(model, shape, boxes);
  const std::vector<TileSize> sizes = sizes_of(tiles, model.bundle().tile());
  std::vector<std::shared_ptr<const Model>> fitted;
  std::vector<TilePlan> plans;
  for (const TileSize size : sizes) {
    fitted.push_back(model.fitted(size, observer.on_engine, observer.poll));
    plans.push_back(plan);
    plans.back().model = fitted.back().get();
  }
  SliceBlend blend(model.bundle(), volume, shape, tiles, out, gates);
  EnhanceReport report = run(plans, tiles, options.batch, blend, observer);
  blend.finish();
  report.tile_sizes = sizes;
  report.seconds["total"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace mdr
