#pragma once

#include <array>
#include <cstdint>

#include "core/model.h"
#include "core/pipeline.h"

namespace mdr::capi {

// `spacing_mm` is the scan's. How many tiles may be under way for a run on a CPU to stay below
// `limit` bytes: `asked`, 0 for the best for the device, or fewer. Throws MDR_OUT_OF_MEMORY when
// not even one may.
int tiles_within(int64_t limit, const Model& model, const VolumeShape& in, const VolumeShape& out,
                 const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
                 int asked);

}  // namespace mdr::capi
