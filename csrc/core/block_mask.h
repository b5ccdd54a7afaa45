#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/tiler.h"

namespace mdr {

// Small masks, (nz, ny, nx), 0 or 1 in each cell. Cells that share a face are neighbours.
using BlockMask = std::vector<uint8_t>;

// Clears the connected pieces smaller than `share` of the largest.
void drop_specks(BlockMask& mask, const VolumeShape& shape, double share);

// Sets what no way through unset cells connects with the outside.
void fill_holes(BlockMask& mask, const VolumeShape& shape);

// The mask grown by `margin` cells along z, y and x, to every side.
BlockMask grown(const BlockMask& mask, const VolumeShape& shape, const std::array<int, 3>& margin);

}  // namespace mdr
