#pragma once

#include <cstdint>
#include <vector>

#include "backends/gpu.h"
#include "core/model.h"

namespace mdr {

// While the loop of one batch runs, the next batch is being conditioned and the one before is on
// its way back to the host.
constexpr int kGpuLanes = 3;

// Where everything that one enhance() keeps on a GPU lies in one block of memory: offsets in bytes,
// -1 for what is not needed.
struct GpuLayout {
  struct Lane {
    int64_t slices = 0, z_low = 0, z_c = 0, gates = 0, origins = 0, slots = 0, image = 0;
  };
  struct Expert {
    int64_t z0 = 0;
    int64_t z_t = -1, z_c = -1;  // rows of its own, for when it does not run for every tile
    int64_t scratch = 0;
  };
  int batch = 0;  // tiles that it has room for, a power of two
  std::vector<Lane> lanes;
  std::vector<Expert> experts;
  int64_t centre = 0, tokens = 0, z = 0, z0 = 0;
  int64_t timesteps = 0;        // of all steps, one row after the other
  int64_t timestep_stride = 0;  // floats from one step's row to the next
  int64_t t = 0;                // the step's row, where experts read it
  int64_t expert_z = -1;        // the state as experts read it, where that is not float32
  int64_t scratch = 0;          // of the modules that run alone
  int64_t bytes = 0;
};

// `gathered`: experts may run for a part of the tiles only.
GpuLayout lay_out(const Model& model, int batch, int steps, bool gathered);

// The layout for the largest batch, at most what `tiles` fill, that takes no more than `limit`
// bytes. Throws Error(ErrorKind::backend) when a batch of one tile takes more.
GpuLayout fit_layout(const Model& model, int tiles, int steps, bool gathered, int64_t limit);

// The smallest power of two that is not below `tiles`.
int batch_bucket(int tiles);

}  // namespace mdr
