#pragma once

#include <cstdint>

namespace mdr {

// Which experts run for a tile: bit i set means expert i runs.
using ExpertMask = uint32_t;

// Skips each expert whose gate stays below `threshold` over the whole tile (0: none is skipped) and
// brings the other gates back to a sum of 1 per cell, in place. `gates` is (experts, cells), a
// softmax over experts; threshold < 1 / experts, so at least one expert stays. Throws
// Error(ErrorKind::engine) when none does: the gates are no softmax.
ExpertMask plan_tile(float* gates, int experts, int cells, float threshold);

// Throws Error(ErrorKind::input) unless 0 <= threshold < 1 / experts.
void check_gate_threshold(double threshold, int experts);

}  // namespace mdr
