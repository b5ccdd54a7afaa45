#pragma once

#include <cstdint>
#include <vector>

namespace mdr {

// Foreground of one slice, [y0,y1) x [x0,x1) in voxels; empty when y1 <= y0 or x1 <= x0.
struct Box {
  int y0 = 0, y1 = 0, x0 = 0, x1 = 0;
  bool empty() const { return y1 <= y0 || x1 <= x0; }
};

struct VolumeShape {
  int nz = 0, ny = 0, nx = 0;
  int64_t slice() const { return int64_t{ny} * nx; }
  int64_t voxels() const { return slice() * nz; }
};

struct TileShape {
  int height = 0, width = 0, overlap = 0;
  int align_y = 1, align_x = 1;  // pixels per latent cell; tile starts are multiples of them
};

// A tile's first voxel; it may reach past the volume's far edges.
struct Tile {
  int z = 0, y = 0, x = 0;
};

// Starts along an axis of n voxels, rising, so that [lo,hi) is covered and neighbours overlap by at
// least `overlap`. Throws Error(ErrorKind::input) on impossible sizes.
std::vector<int> tile_starts(int n, int lo, int hi, int tile, int overlap, int align);

// One box per slice. The grid covers the union of the boxes; tiles that touch their slice's box are
// kept, ordered by z, y, x.
std::vector<Tile> list_tiles(const VolumeShape& volume, const std::vector<Box>& boxes,
                             const TileShape& shape);

// The tile's slice in the middle of its `count` (odd) neighbours into `slices` (count, height,
// width); past an edge the edge voxel repeats.
void read_tile(const float* volume, const VolumeShape& shape, const Tile& tile, int count,
               int height, int width, float* slices);

}  // namespace mdr
