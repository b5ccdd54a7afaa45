#include "core/flip.h"

#include <algorithm>

namespace mdr {
namespace {

constexpr int64_t kRows = 64;  // at a time

}  // namespace

Flip flip_of_sample(int number, int plane) {
  const bool along = (number & 1) != 0, across = (number & 2) != 0;  // a slice's rows
  if (plane == 0) return {false, across, along};
  if (plane == 1) return {across, false, along};
  return {across, along, false};
}

void flip_volume(Parallel& parallel, float* volume, const VolumeShape& shape, const Flip& flip) {
  if (!flip.any()) return;
  const auto turn = [&](int64_t row) {
    const int64_t z = row / shape.ny, y = row % shape.ny;
    const int64_t other =
        (flip.z ? shape.nz - 1 - z : z) * shape.ny + (flip.y ? shape.ny - 1 - y : y);
    if (other < row) return;  // turned from there
    float *one = volume + row * shape.nx, *two = volume + other * shape.nx;
    if (one != two) std::swap_ranges(one, one + shape.nx, two);
    if (!flip.x) return;
    std::reverse(one, one + shape.nx);
    if (one != two) std::reverse(two, two + shape.nx);
  };
  parallel.ranges(int64_t{shape.nz} * shape.ny, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) turn(row);
  });
}

std::vector<Box> flip_boxes(const std::vector<Box>& boxes, const VolumeShape& shape,
                            const Flip& flip) {
  std::vector<Box> flipped = boxes;
  if (flip.z) std::reverse(flipped.begin(), flipped.end());
  for (Box& box : flipped) {
    if (flip.y) box = {shape.ny - box.y1, shape.ny - box.y0, box.x0, box.x1};
    if (flip.x) box = {box.y0, box.y1, shape.nx - box.x1, shape.nx - box.x0};
  }
  return flipped;
}

}  // namespace mdr
