#include "core/dispatch.h"

#include <algorithm>

#include "core/error.h"

namespace mdr {

ExpertMask plan_tile(float* gates, int experts, int cells, float threshold) {
  const ExpertMask all = (ExpertMask{1} << experts) - 1;
  if (threshold <= 0) return all;
  ExpertMask active = all;
  for (int i = 0; i < experts; ++i) {
    const float* map = gates + int64_t{i} * cells;
    if (std::all_of(map, map + cells, [=](float g) { return g < threshold; })) {
      active &= ~(ExpertMask{1} << i);
    }
  }
  if (active == all) return active;
  if (active == 0) {
    float sum = 0;
    for (int i = 0; i < experts; ++i) sum += gates[int64_t{i} * cells];
    fail(ErrorKind::engine, "enhance: expected gates that sum to 1, found ", sum,
         "; the gate module was probably exported without its softmax; export the bundle again");
  }
  for (int cell = 0; cell < cells; ++cell) {
    float sum = 0;
    for (int i = 0; i < experts; ++i) {
      float& gate = gates[int64_t{i} * cells + cell];
      if (!(active >> i & 1)) gate = 0;
      sum += gate;
    }
    for (int i = 0; i < experts; ++i) gates[int64_t{i} * cells + cell] /= sum;
  }
  return active;
}

void check_gate_threshold(double threshold, int experts) {
  if (threshold >= 0 && threshold * experts < 1) return;
  fail(ErrorKind::input, "enhance: expected a gate threshold from 0 to below 1/", experts,
       ", found ", threshold, "; at 1/", experts,
       " a tile could lose every expert; give a smaller one (0 runs every expert)");
}

}  // namespace mdr
