#include "core/tiler.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"

namespace mdr {
namespace {

int round_up(int value, int align) { return (value + align - 1) / align * align; }
int round_down(int value, int align) { return value / align * align; }

std::vector<int> spread(int first, int last, int count, int align) {
  std::vector<int> starts;
  const int64_t cells = (last - first) / align;
  for (int64_t i = 0; i < count; ++i) {
    starts.push_back(first + align * static_cast<int>(i * cells / (count - 1)));
  }
  return starts;
}

bool too_far_apart(const std::vector<int>& starts, int most) {
  for (size_t i = 1; i < starts.size(); ++i) {
    if (starts[i] - starts[i - 1] > most) return true;
  }
  return false;
}

// A tile more has to save this many pixels: each has seams.
constexpr int64_t kTilePixels = 2048;

Ramps ramps_of(const std::vector<int>& starts, size_t i, int n, int tile, int overlap) {
  Ramps ramps{overlap, overlap};
  if (i == 0) ramps.low = starts[i] > 0 ? kEdgeRamp : 0;
  if (i + 1 == starts.size()) ramps.high = starts[i] + tile < n ? kEdgeRamp : 0;
  return ramps;
}

// Tiles that each slice needs along an axis, for every size from `smallest` to `largest`.
template <typename Starts>
std::vector<std::vector<int64_t>> count_along(const std::vector<Box>& boxes, int smallest,
                                              int largest, int pitch, const Starts& starts) {
  std::vector<std::vector<int64_t>> counts;
  for (int size = smallest; size <= largest; size += pitch) {
    counts.emplace_back();
    for (const Box& box : boxes) {
      counts.back().push_back(box.empty() ? 0 : static_cast<int64_t>(starts(box, size).size()));
    }
  }
  return counts;
}

}  // namespace

std::vector<int> tile_starts(int n, int lo, int hi, int tile, int overlap, int align) {
  if (n < 1 || lo < 0 || lo >= hi || hi > n) {
    fail(ErrorKind::input, "tile_starts: expected 0 <= lo < hi <= n, found lo ", lo, ", hi ", hi,
         ", n ", n, "; the region is probably not of this volume; give it in voxels of the volume");
  }
  if (tile < 1 || align < 1 || tile % align || overlap < 0 || overlap % align ||
      overlap > tile / 2) {
    fail(ErrorKind::input,
         "tile_starts: expected a tile that is a multiple of align and an overlap that is a ",
         "multiple of align and at most half the tile, found tile ", tile, ", overlap ", overlap,
         ", align ", align, "; change the overlap");
  }
  const int most = n <= tile ? 0 : round_up(n - tile, align);
  const int first = round_down(lo, align);
  if (hi - first <= tile) {
    const int middle = static_cast<int>((int64_t{lo} + hi) / 2);
    const int start = std::min(round_down(std::max(0, middle - tile / 2), align), most);
    const bool covers = start <= lo && hi <= start + tile;
    return {covers ? start : std::min(first, most)};
  }
  const int last = std::min(most, round_up(hi - tile, align));
  const int stride = tile - overlap;
  int count = (hi - first - overlap + stride - 1) / stride;
  std::vector<int> starts = spread(first, last, count, align);
  while (too_far_apart(starts, stride)) starts = spread(first, last, ++count, align);
  return starts;
}

std::vector<Tile> list_tiles(const VolumeShape& volume, const std::vector<Box>& boxes,
                             TileSize tile, const TileSpacing& spacing) {
  std::vector<Tile> tiles;
  for (int z = 0; z < volume.nz; ++z) {
    const Box& box = boxes[z];
    if (box.empty()) continue;
    const int overlap = spacing.overlap;
    const auto ys = tile_starts(volume.ny, box.y0, box.y1, tile.height, overlap, spacing.align_y);
    const auto xs = tile_starts(volume.nx, box.x0, box.x1, tile.width, overlap, spacing.align_x);
    for (size_t i = 0; i < ys.size(); ++i) {
      for (size_t k = 0; k < xs.size(); ++k) {
        tiles.push_back({z, ys[i], xs[k], ramps_of(ys, i, volume.ny, tile.height, overlap),
                         ramps_of(xs, k, volume.nx, tile.width, overlap)});
      }
    }
  }
  return tiles;
}

TileSize fit_tile(const VolumeShape& volume, const std::vector<Box>& boxes, const TileSizes& sizes,
                  const TileSpacing& spacing) {
  const auto rows = count_along(boxes, sizes.smallest.height, sizes.largest.height,
                                sizes.pitch.height, [&](const Box& box, int size) {
                                  return tile_starts(volume.ny, box.y0, box.y1, size,
                                                     spacing.overlap, spacing.align_y);
                                });
  const auto columns = count_along(boxes, sizes.smallest.width, sizes.largest.width,
                                   sizes.pitch.width, [&](const Box& box, int size) {
                                     return tile_starts(volume.nx, box.x0, box.x1, size,
                                                        spacing.overlap, spacing.align_x);
                                   });
  TileSize best = sizes.largest;
  int64_t least = INT64_MAX;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t k = 0; k < columns.size(); ++k) {
      const TileSize size{sizes.smallest.height + static_cast<int>(i) * sizes.pitch.height,
                          sizes.smallest.width + static_cast<int>(k) * sizes.pitch.width};
      const int64_t tiles =
          std::inner_product(rows[i].begin(), rows[i].end(), columns[k].begin(), int64_t{0});
      const int64_t pixels = tiles * (size.pixels() + kTilePixels);
      if (tiles == 0 || pixels >= least) continue;
      least = pixels;
      best = size;
    }
  }
  return best;
}

void read_tile(const float* volume, const VolumeShape& shape, const Tile& tile, int count,
               int height, int width, float* slices) {
  const int inside = std::clamp(shape.nx - tile.x, 0, width);
  for (int s = 0; s < count; ++s) {
    const int z = std::clamp(tile.z + s - count / 2, 0, shape.nz - 1);
    for (int i = 0; i < height; ++i) {
      const int y = std::min(tile.y + i, shape.ny - 1);
      const float* row = volume + z * shape.slice() + int64_t{y} * shape.nx;
      float* to = slices + (int64_t{s} * height + i) * width;
      std::memcpy(to, row + tile.x, sizeof(float) * inside);
      std::fill(to + inside, to + width, row[shape.nx - 1]);
    }
  }
}

}  // namespace mdr
