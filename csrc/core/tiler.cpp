#include "core/tiler.h"

#include <algorithm>
#include <cstring>

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

Box union_of(const std::vector<Box>& boxes) {
  Box all;
  for (const Box& box : boxes) {
    if (box.empty()) continue;
    if (all.empty()) {
      all = box;
      continue;
    }
    all = {std::min(all.y0, box.y0), std::max(all.y1, box.y1), std::min(all.x0, box.x0),
           std::max(all.x1, box.x1)};
  }
  return all;
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
                             const TileShape& shape) {
  const Box all = union_of(boxes);
  if (all.empty()) return {};
  const auto ys =
      tile_starts(volume.ny, all.y0, all.y1, shape.height, shape.overlap, shape.align_y);
  const auto xs = tile_starts(volume.nx, all.x0, all.x1, shape.width, shape.overlap, shape.align_x);
  std::vector<Tile> tiles;
  for (int z = 0; z < volume.nz; ++z) {
    const Box& box = boxes[z];
    if (box.empty()) continue;
    for (const int y : ys) {
      if (y >= box.y1 || y + shape.height <= box.y0) continue;
      for (const int x : xs) {
        if (x < box.x1 && x + shape.width > box.x0) tiles.push_back({z, y, x});
      }
    }
  }
  return tiles;
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
