#include "core/foreground.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "core/block_mask.h"
#include "core/order_statistics.h"

namespace mdr {
namespace {

// Edge of the blocks the mask is made on, mm: averaging over one tames noise.
constexpr double kBlockMm = 3.0;
// The mask may reach this far past the head, mm.
constexpr double kMarginMm = 4.0;
// Signal levels relative to the bright end of the scan.
constexpr double kLowestLevel = 0.06;
constexpr double kHighestLevel = 0.15;
// A background smaller than this share of the volume is no background.
constexpr double kSmallestBackground = 0.02;
// Pieces smaller than this share of the largest are specks.
constexpr double kSmallestPiece = 0.02;

std::vector<double> block_means(Parallel& parallel, const float* volume, const Foreground& found) {
  const VolumeShape &shape = found.shape, &blocks = found.blocks;
  std::vector<double> means(blocks.voxels());
  parallel.ranges(blocks.nz, 1, [&](int64_t begin, int64_t) {
    double* sums = means.data() + begin * blocks.slice();
    const int64_t z0 = begin * found.block[0];
    const int64_t z1 = std::min<int64_t>(shape.nz, z0 + found.block[0]);
    for (int64_t z = z0; z < z1; ++z) {
      for (int64_t y = 0; y < shape.ny; ++y) {
        const float* row = volume + z * shape.slice() + y * shape.nx;
        double* in_row = sums + y / found.block[1] * blocks.nx;
        for (int64_t b = 0, x = 0; b < blocks.nx; ++b) {
          const int64_t end = std::min<int64_t>(shape.nx, x + found.block[2]);
          for (; x < end; ++x) in_row[b] += row[x];
        }
      }
    }
    for (int64_t y = 0; y < blocks.ny; ++y) {
      for (int64_t x = 0; x < blocks.nx; ++x) {
        const int64_t ny = std::min<int64_t>(found.block[1], shape.ny - y * found.block[1]);
        const int64_t nx = std::min<int64_t>(found.block[2], shape.nx - x * found.block[2]);
        sums[y * blocks.nx + x] /= static_cast<double>((z1 - z0) * ny * nx);
      }
    }
  });
  return means;
}

// The level that parts tissue from background; below all values without a background.
double signal_level(const std::vector<double>& means) {
  const double bright = percentile(means, 99.5);
  const auto is_dark = [&](double mean) { return mean < kHighestLevel * bright; };
  std::vector<double> dark;
  dark.reserve(std::count_if(means.begin(), means.end(), is_dark));
  std::copy_if(means.begin(), means.end(), std::back_inserter(dark), is_dark);
  const auto count = static_cast<double>(means.size());
  if (dark.empty() || static_cast<double>(dark.size()) < kSmallestBackground * count) {
    return -std::numeric_limits<double>::infinity();
  }
  const double middle = percentile(dark, 50);
  for (double& value : dark) value = std::abs(value - middle);
  const double spread = 1.4826 * percentile(dark, 50);
  return std::min(std::max(kLowestLevel * bright, middle + 4 * spread), kHighestLevel * bright);
}

BlockMask bright_blocks(const std::vector<double>& means) {
  const double level = signal_level(means);
  BlockMask bright(means.size());
  for (size_t i = 0; i < means.size(); ++i) bright[i] = means[i] > level;
  return bright;
}

// Where the blocks under slices [first, last] of blocks have foreground along an axis, as [low,
// high); nothing when low is high.
struct Extent {
  int low = std::numeric_limits<int>::max(), high = 0;
  void take(int block) {
    low = std::min(low, block);
    high = std::max(high, block + 1);
  }
};

}  // namespace

std::vector<Box> Foreground::boxes(const VolumeShape& output) const {
  const double scale_z = static_cast<double>(output.nz) / shape.nz;
  const double scale_y = static_cast<double>(output.ny) / shape.ny;
  const double scale_x = static_cast<double>(output.nx) / shape.nx;
  std::vector<Box> boxes(output.nz);
  for (int k = 0; k < output.nz; ++k) {
    // Every block that slice k touches, so that no slice between two blocks is missed.
    const int first = static_cast<int>(k / scale_z) / block[0];
    const int last = (static_cast<int>(std::ceil((k + 1) / scale_z)) - 1) / block[0];
    Extent along_y, along_x;
    for (int z = first; z <= std::min(last, blocks.nz - 1); ++z) {
      for (int y = 0; y < blocks.ny; ++y) {
        for (int x = 0; x < blocks.nx; ++x) {
          if (!reach[z * blocks.slice() + int64_t{y} * blocks.nx + x]) continue;
          along_y.take(y);
          along_x.take(x);
        }
      }
    }
    if (along_y.high == 0) continue;
    const auto low = [](int at, int size, double scale) {
      return static_cast<int>(std::floor(at * size * scale));
    };
    const auto high = [](int at, int size, double scale, int most) {
      return std::min(static_cast<int>(std::ceil(at * size * scale)), most);
    };
    boxes[k] = {
        low(along_y.low, block[1], scale_y), high(along_y.high, block[1], scale_y, output.ny),
        low(along_x.low, block[2], scale_x), high(along_x.high, block[2], scale_x, output.nx)};
  }
  return boxes;
}

std::array<int, 3> block_voxels(const std::array<double, 3>& spacing_mm) {
  std::array<int, 3> block;
  for (int axis = 0; axis < 3; ++axis) {
    block[axis] = std::max(1, static_cast<int>(std::nearbyint(kBlockMm / spacing_mm[axis])));
  }
  return block;
}

Foreground find_foreground(Parallel& parallel, const float* volume, const VolumeShape& shape,
                           const std::array<double, 3>& spacing_mm) {
  Foreground found;
  found.shape = shape;
  found.block = block_voxels(spacing_mm);
  std::array<int, 3> margin;
  for (int axis = 0; axis < 3; ++axis) {
    margin[axis] = static_cast<int>(std::ceil(kMarginMm / (spacing_mm[axis] * found.block[axis])));
  }
  const auto blocks = [](int n, int size) { return (n + size - 1) / size; };
  found.blocks = {blocks(shape.nz, found.block[0]), blocks(shape.ny, found.block[1]),
                  blocks(shape.nx, found.block[2])};
  found.inside = bright_blocks(block_means(parallel, volume, found));
  drop_specks(found.inside, found.blocks, kSmallestPiece);
  fill_holes(found.inside, found.blocks);
  found.reach = grown(found.inside, found.blocks, margin);
  return found;
}

}  // namespace mdr
