#pragma once

#include <cstdint>
#include <vector>

#include "core/tile_size.h"
#include "ops/blend.h"

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
  bool operator==(const VolumeShape& other) const {
    return nz == other.nz && ny == other.ny && nx == other.nx;
  }
};

struct TileSpacing {
  int overlap = 0;               // of neighbours, at least
  int align_y = 1, align_x = 1;  // pixels per latent cell; tile starts are multiples of them
};

// A tile's first voxel, how its weight rises along each axis, and its size; it may reach past the
// volume's far edges.
struct Tile {
  int z = 0, y = 0, x = 0;
  Ramps ramps_y, ramps_x;
  TileSize size;
};

// How far a tile fades into the input where no neighbour follows, but at the volume's edges.
constexpr int kEdgeRamp = 4;

// Starts along an axis of n voxels, rising, so that [lo,hi) is covered and neighbours overlap by at
// least `overlap`. Throws Error(ErrorKind::input) on impossible sizes.
std::vector<int> tile_starts(int n, int lo, int hi, int tile, int overlap, int align);

// One box per slice, which that slice's tiles cover, all of that slice's size; ordered by z, y, x.
std::vector<Tile> list_tiles(const VolumeShape& volume, const std::vector<Box>& boxes,
                             const std::vector<TileSize>& sizes, const TileSpacing& spacing);

// The size of each slice's tiles. First the one of which list_tiles() needs the fewest pixels for
// all slices, or the largest where all boxes are empty; then another, for the slices that need
// fewer pixels with it, if that saves what 16 of the largest tiles have.
std::vector<TileSize> fit_tiles(const VolumeShape& volume, const std::vector<Box>& boxes,
                                const TileSizes& sizes, const TileSpacing& spacing);

// The tile's slice in the middle of its `count` (odd) neighbours into `slices` (count, height,
// width), of the tile's size; beyond its faces the volume is mirrored.
void read_tile(const float* volume, const VolumeShape& shape, const Tile& tile, int count,
               float* slices);

}  // namespace mdr
