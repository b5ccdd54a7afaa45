#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/model.h"
#include "core/pipeline.h"

namespace mdr {

// How many tiles may be under way for a run on a CPU to stay below `limit` bytes: as many as
// options.sampling.batch says, 0 for the best for the device, or fewer. The run's own results
// count, the scan and the engines do not. `spacing_mm` is the scan's. Throws
// Error(ErrorKind::memory) when not even one may.
int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
                 const std::vector<int>& planes, const PipelineOutput& kept, int threads);

}  // namespace mdr
