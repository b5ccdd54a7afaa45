#include "core/tiler.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/mirror.h"

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
// Another size has to save as many pixels as so many of the largest tiles have: its engines take
// about as long to be loaded as four such tiles, and to be built, once, as twenty.
constexpr int64_t kSavedTiles = 16;

Ramps ramps_of(const std::vector<int>& starts, size_t i, int n, int tile, int overlap) {
  Ramps ramps{overlap, overlap};
  if (i == 0) ramps.low = starts[i] > 0 ? kEdgeRamp : 0;
  if (i + 1 == starts.size()) ramps.high = starts[i] + tile < n ? kEdgeRamp : 0;
  return ramps;
}

// What tiles of one size take of each slice, in pixels.
struct Candidate {
  TileSize size;
  std::vector<int64_t> pixels;

  int64_t sum() const { return std::accumulate(pixels.begin(), pixels.end(), int64_t{0}); }
};

// Tiles that each slice needs along an axis.
template <typename Starts>
std::vector<int64_t> count_along(const std::vector<Box>& boxes, const Starts& starts) {
  std::vector<int64_t> counts;
  for (const Box& box : boxes) {
    counts.push_back(box.empty() ? 0 : static_cast<int64_t>(starts(box).size()));
  }
  return counts;
}

std::vector<Candidate> candidates(const VolumeShape& volume, const std::vector<Box>& boxes,
                                  const TileSizes& sizes, const TileSpacing& spacing) {
  std::vector<std::vector<int64_t>> columns;
  for (int width = sizes.smallest.width; width <= sizes.largest.width; width += sizes.pitch.width) {
    columns.push_back(count_along(boxes, [&](const Box& box) {
      return tile_starts(volume.nx, box.x0, box.x1, width, spacing.overlap, spacing.align_x);
    }));
  }
  std::vector<Candidate> found;
  for (int height = sizes.smallest.height; height <= sizes.largest.height;
       height += sizes.pitch.height) {
    const std::vector<int64_t> rows = count_along(boxes, [&](const Box& box) {
      return tile_starts(volume.ny, box.y0, box.y1, height, spacing.overlap, spacing.align_y);
    });
    for (size_t k = 0; k < columns.size(); ++k) {
      const int width = sizes.smallest.width + static_cast<int>(k) * sizes.pitch.width;
      Candidate one{{height, width}, rows};
      for (size_t z = 0; z < rows.size(); ++z) {
        one.pixels[z] *= columns[k][z] * (one.size.pixels() + kTilePixels);
      }
      found.push_back(std::move(one));
    }
  }
  return found;
}

// What of `now` is saved where the other takes less.
int64_t saved(const std::vector<int64_t>& now, const std::vector<int64_t>& other) {
  int64_t sum = 0;
  for (size_t z = 0; z < now.size(); ++z) sum += std::max<int64_t>(0, now[z] - other[z]);
  return sum;
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
                             const std::vector<TileSize>& sizes, const TileSpacing& spacing) {
  std::vector<Tile> tiles;
  for (int z = 0; z < volume.nz; ++z) {
    const Box& box = boxes[z];
    const TileSize tile = sizes[z];
    if (box.empty()) continue;
    const int overlap = spacing.overlap;
    const auto ys = tile_starts(volume.ny, box.y0, box.y1, tile.height, overlap, spacing.align_y);
    const auto xs = tile_starts(volume.nx, box.x0, box.x1, tile.width, overlap, spacing.align_x);
    for (size_t i = 0; i < ys.size(); ++i) {
      for (size_t k = 0; k < xs.size(); ++k) {
        tiles.push_back({z, ys[i], xs[k], ramps_of(ys, i, volume.ny, tile.height, overlap),
                         ramps_of(xs, k, volume.nx, tile.width, overlap), tile});
      }
    }
  }
  return tiles;
}

std::vector<TileSize> fit_tiles(const VolumeShape& volume, const std::vector<Box>& boxes,
                                const TileSizes& sizes, const TileSpacing& spacing) {
  if (std::all_of(boxes.begin(), boxes.end(), [](const Box& box) { return box.empty(); })) {
    return std::vector<TileSize>(boxes.size(), sizes.largest);
  }
  const std::vector<Candidate> all = candidates(volume, boxes, sizes, spacing);
  const auto first = std::min_element(
      all.begin(), all.end(), [](const auto& a, const auto& b) { return a.sum() < b.sum(); });
  std::vector<TileSize> fitted(boxes.size(), first->size);
  std::vector<int64_t> now = first->pixels;
  for (int count = 1; count < kMostTileSizes; ++count) {
    const auto next = std::max_element(all.begin(), all.end(), [&](const auto& a, const auto& b) {
      return saved(now, a.pixels) < saved(now, b.pixels);
    });
    if (saved(now, next->pixels) < kSavedTiles * sizes.largest.pixels()) break;
    for (size_t z = 0; z < now.size(); ++z) {
      if (next->pixels[z] >= now[z]) continue;
      now[z] = next->pixels[z];
      fitted[z] = next->size;
    }
  }
  return fitted;
}

void read_tile(const float* volume, const VolumeShape& shape, const Tile& tile, int count,
               float* slices) {
  const auto [height, width] = tile.size;
  const int inside = std::clamp(shape.nx - tile.x, 0, width);
  std::vector<int64_t> beyond;  // columns past the far face
  for (int k = inside; k < width; ++k) beyond.push_back(mirrored(tile.x + k, shape.nx));
  for (int s = 0; s < count; ++s) {
    const int64_t z = mirrored(tile.z + s - count / 2, shape.nz);
    for (int i = 0; i < height; ++i) {
      const float* row = volume + z * shape.slice() + mirrored(tile.y + i, shape.ny) * shape.nx;
      float* to = slices + (int64_t{s} * height + i) * width;
      std::memcpy(to, row + tile.x, sizeof(float) * inside);
      to += inside;
      for (const int64_t x : beyond) *to++ = row[x];
    }
  }
}

}  // namespace mdr
