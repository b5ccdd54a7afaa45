#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/tiler.h"

namespace mdr {

// 0, empty and -1 mean the bundle's own setting; batch 0 the best for the device.
struct EnhanceOptions {
  int steps = 0;
  uint64_t seed = 0;
  std::string method;
  std::string start;
  int start_timestep = -1;
  double gate_threshold = -1;
  int batch = 0;  // tiles under way at once: more memory, better use of the cores, same result
};

// Called on the thread that called enhance(). What they throw stops the work and is passed on.
struct EnhanceObserver {
  std::function<void(int done, int total)> progress;  // in tiles
  std::function<void()> poll;                         // about ten times a second
  Model::OnEngine
      on_engine;  // after each engine that had to be built or loaded for the tiles' sizes
};

struct EnhanceReport {
  int tiles = 0;
  std::vector<TileSize> tile_sizes;  // that there are among them
  int64_t expert_calls = 0;
  int64_t expert_calls_saved = 0;         // by the dispatch plan
  std::map<std::string, double> seconds;  // busy time of each stage over all threads; "total"
};

// Tiles under way at once where EnhanceOptions leaves them to the device.
int default_batch(const HostDevice& device);

// Throws Error(ErrorKind::input) for options that enhance() would not take.
void check_options(const Model& model, const EnhanceOptions& options);

// How many tiles enhance() takes.
int count_tiles(const Model& model, const VolumeShape& shape, const std::vector<Box>& boxes);

// Enhances `volume` (nz, ny, nx) into `out` of the same shape, which may be `volume`: then only a
// few slices are held beside it. `gates` is null or takes the gates
// that were applied, blended, as (experts, nz, ny, nx) in 1/255; 0 where no tile was.
EnhanceReport enhance(const Model& model, const float* volume, const VolumeShape& shape,
                      const std::vector<Box>& boxes, const EnhanceOptions& options, float* out,
                      uint8_t* gates, const EnhanceObserver& observer);

}  // namespace mdr
