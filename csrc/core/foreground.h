#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// Where the head is: a mask over blocks of a scan's voxels. Axes are z, y, x.
struct Foreground {
  using Mask = std::vector<uint8_t>;

  VolumeShape shape;           // of the scan
  std::array<int, 3> block{};  // voxels of the scan per block
  VolumeShape blocks;          // shape of the masks
  Mask inside;                 // blocks of the head, holes filled
  Mask reach;                  // `inside` grown by a margin

  // The row of `mask` that voxel row (z, y) of the scan lies in.
  const uint8_t* row(const Mask& mask, int64_t z, int64_t y) const {
    return mask.data() + z / block[0] * blocks.slice() + y / block[1] * blocks.nx;
  }

  // Calls take(y, x0, x1) for every run of slice z's voxels along x where `mask` is `value`; one
  // run per block.
  template <typename Take>
  void runs(const Mask& mask, bool value, int64_t z, const Take& take) const {
    for (int64_t y = 0; y < shape.ny; ++y) {
      const uint8_t* in_row = row(mask, z, y);
      for (int64_t b = 0, x = 0; b < blocks.nx; ++b, x += block[2]) {
        const int64_t end = x + block[2] < shape.nx ? x + block[2] : shape.nx;
        if ((in_row[b] != 0) == value) take(y, x, end);
      }
    }
  }

  // Bounding box of `reach` in each slice of a grid over the same box; empty where a slice has no
  // foreground.
  std::vector<Box> boxes(const VolumeShape& output) const;
};

// Voxels of a scan, with edges of `spacing_mm`, per block.
std::array<int, 3> block_voxels(const std::array<double, 3>& spacing_mm);

// The head, or the whole volume where there is no background around it. `volume` is (nz, ny, nx) in
// any intensity unit, background darker than tissue.
Foreground find_foreground(Parallel& parallel, const float* volume, const VolumeShape& shape,
                           const std::array<double, 3>& spacing_mm);

}  // namespace mdr
