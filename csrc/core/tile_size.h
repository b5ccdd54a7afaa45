#pragma once

#include <cstdint>

namespace mdr {

// In pixels.
struct TileSize {
  int height = 0, width = 0;
  int64_t pixels() const { return int64_t{height} * width; }
  bool operator==(const TileSize& other) const {
    return height == other.height && width == other.width;
  }
};

// What a model takes: any multiple of `pitch` from `smallest` to `largest`, per axis.
struct TileSizes {
  TileSize smallest, largest, pitch;
};

// Of how many sizes a volume's tiles are, at most: each has engines of its own, and their memory.
constexpr int kMostTileSizes = 2;

}  // namespace mdr
