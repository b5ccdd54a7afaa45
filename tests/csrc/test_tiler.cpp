#include <algorithm>
#include <numeric>

#include "claim.h"
#include "core/tiler.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

const Claim fits("a volume smaller than a tile has one tile at 0", [] {
  check(tile_starts(100, 3, 90, 256, 32, 4) == std::vector<int>{0}, "not 0");
});

const Claim spreads("tiles cover every voxel of the region, for all small axes", [] {
  for (int n = 1; n <= 40; ++n) {
    for (int lo = 0; lo < n; ++lo) {
      for (int hi = lo + 1; hi <= n; ++hi) {
        for (const int overlap : {0, 2, 4}) {
          const auto starts = tile_starts(n, lo, hi, 8, overlap, 2);
          check(starts.front() <= lo && starts.back() + 8 >= hi, "not covered: n ", n, " lo ", lo,
                " hi ", hi);
          for (size_t i = 1; i < starts.size(); ++i) {
            const int gap = starts[i] - starts[i - 1];
            check(gap > 0 && gap <= 8 - overlap && starts[i] % 2 == 0, "gap ", gap);
          }
        }
      }
    }
  }
});

const Claim lists("each slice's tiles cover its own box", [] {
  const VolumeShape volume{4, 64, 64};
  const std::vector<Box> boxes = {{0, 8, 0, 8}, {}, {0, 64, 0, 64}, {20, 52, 22, 60}};
  const std::vector<TileSize> sizes(4, {32, 32});
  const auto tiles = list_tiles(volume, boxes, sizes, {8, 4, 4});
  std::vector<int> per_slice(4);
  for (const Tile& tile : tiles) ++per_slice[tile.z];
  check(per_slice == std::vector<int>{1, 0, 9, 2}, "other counts");
  check(list_tiles(volume, std::vector<Box>(4), sizes, {8, 4, 4}).empty(), "tiles of nothing");
});

const Claim edges("a tile's ends have the ramp of what follows there", [] {
  const VolumeShape volume{1, 100, 64};
  const auto tiles = list_tiles(volume, {{10, 76, 0, 40}}, {TileSize{32, 48}}, {8, 4, 4});
  equal(tiles.size(), size_t{3});
  const auto is = [](const Ramps& found, int low, int high) {
    check(found.low == low && found.high == high, "found ", found.low, " and ", found.high);
  };
  // Neighbours overlap; the volume goes on before the first and after the last.
  is(tiles[0].ramps_y, kEdgeRamp, 8);
  is(tiles[1].ramps_y, 8, 8);
  is(tiles[2].ramps_y, 8, kEdgeRamp);
  // The volume ends at the left.
  is(tiles[0].ramps_x, 0, kEdgeRamp);
  is(list_tiles(volume, {{0, 9, 50, 64}}, {TileSize{32, 48}}, {8, 4, 4})[0].ramps_x, kEdgeRamp, 0);
});

constexpr TileSizes kSizes{{16, 16}, {64, 64}, {8, 8}};

using Sizes = std::vector<TileSize>;

int64_t pixels_of(const VolumeShape& volume, const std::vector<Box>& boxes, const Sizes& sizes,
                  const TileSpacing& spacing) {
  int64_t pixels = 0;
  for (const Tile& tile : list_tiles(volume, boxes, sizes, spacing)) {
    pixels += tile.size.pixels() + 2048;
  }
  return pixels;
}

const Claim fitted("the tile that fits has the fewest pixels of all sizes", [] {
  const VolumeShape volume{3, 120, 140};
  const std::vector<Box> boxes = {{10, 50, 3, 90}, {}, {30, 110, 60, 61}};
  const TileSpacing spacing{8, 4, 4};
  const Sizes found = fit_tiles(volume, boxes, kSizes, spacing);
  check(found == Sizes(3, found[0]), "several sizes for two slices");
  for (int height = 16; height <= 64; height += 8) {
    for (int width = 16; width <= 64; width += 8) {
      const Sizes other(3, {height, width});
      check(pixels_of(volume, boxes, found, spacing) <= pixels_of(volume, boxes, other, spacing),
            "more than ", height, " x ", width);
    }
  }
  check(!(found[0] == kSizes.largest), "the largest is no better than smaller ones here");
});

const Claim several("slices have sizes of their own where these save 16 of the largest tiles", [] {
  const TileSpacing spacing{8, 4, 4};
  const auto fitted = [&](int wide, int narrow) {
    const VolumeShape volume{wide + narrow, 200, 200};
    std::vector<Box> boxes(wide, {0, 64, 0, 64});
    boxes.insert(boxes.end(), narrow, {100, 132, 92, 124});
    return fit_tiles(volume, boxes, kSizes, spacing);
  };
  // A narrow slice takes a quarter of a wide one's tile, and 2048 pixels each.
  const Sizes all = fitted(100, 22);
  equal(static_cast<int>(std::count(all.begin(), all.end(), TileSize{64, 64})), 100);
  equal(static_cast<int>(std::count(all.begin(), all.end(), TileSize{32, 32})), 22);
  check(all[0] == TileSize{64, 64}, "the wide ones come first");
  check(fitted(100, 21) == Sizes(121, {64, 64}), "21 save less than 16 tiles");
});

const Claim few("there are at most two sizes, neither in need of more pixels than one alone", [] {
  const VolumeShape volume{1000, 200, 200};
  std::vector<Box> boxes;
  for (int z = 0; z < volume.nz; ++z) boxes.push_back({20, 36 + z % 49, 50, 66 + z % 47});
  const TileSpacing spacing{8, 4, 4};
  const Sizes found = fit_tiles(volume, boxes, kSizes, spacing);
  Sizes distinct;
  for (const TileSize size : found) {
    if (std::find(distinct.begin(), distinct.end(), size) == distinct.end()) {
      distinct.push_back(size);
    }
  }
  equal(static_cast<int>(distinct.size()), kMostTileSizes);
  for (const TileSize size : distinct) {
    check(pixels_of(volume, boxes, found, spacing) <
              pixels_of(volume, boxes, Sizes(volume.nz, size), spacing),
          "one alone is as good: ", size.height, " x ", size.width);
  }
});

const Claim one("a box that a tile just holds has one of that size", [] {
  const VolumeShape volume{2, 200, 200};
  const Sizes found = fit_tiles(volume, {{40, 88, 100, 124}, {}}, kSizes, {8, 4, 4});
  check(found == Sizes(2, {48, 24}), "another size");
});

const Claim none("without foreground the largest tile is as good as any", [] {
  check(fit_tiles({2, 9, 9}, std::vector<Box>(2), kSizes, {8, 4, 4}) == Sizes(2, kSizes.largest),
        "another");
});

const Claim reads("beyond its faces a tile sees the volume mirrored, for 1, 3 and 5 slices", [] {
  const VolumeShape shape{4, 3, 5};
  const std::vector<int> slice_at = {1, 0, 0, 1, 2, 3, 3, 2};  // from slice -2
  const std::vector<int> row_at = {0, 1, 2, 2, 1, 0, 0, 1};    // there and back again
  const std::vector<int> column_at = {0, 1, 2, 3, 4, 4, 3, 2, 1, 0};
  std::vector<float> volume(shape.voxels());
  std::iota(volume.begin(), volume.end(), 0.0f);
  for (const int count : {1, 3, 5}) {
    for (int middle = 0; middle < shape.nz; ++middle) {
      const TileSize size{7, 8};
      std::vector<float> slices(count * size.pixels());
      read_tile(volume.data(), shape, {middle, 1, 2, {}, {}, size}, count, slices.data());
      const float* found = slices.data();
      for (int s = 0; s < count; ++s) {
        for (int y = 0; y < size.height; ++y) {
          for (int x = 0; x < size.width; ++x) {
            const int z = slice_at[middle - count / 2 + s + 2];
            equal(*found++, volume[z * 15 + row_at[1 + y] * 5 + column_at[2 + x]]);
          }
        }
      }
    }
  }
});

const Claim refuses("an impossible overlap is refused", [] {
  throws<Error>("half the tile", [] { tile_starts(100, 0, 100, 32, 20, 4); });
});

}  // namespace
