#include "core/noise_level.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "core/order_statistics.h"
#include "ops/annotate.h"

namespace mdr {
namespace {

// Fourth difference: blind to anything cubic over five voxels.
constexpr float kDetail[5] = {1, -4, 6, -4, 1};
constexpr int kReach = 2;  // voxels to each side
// The spread is read in blocks of this many voxels, at this percentile over the blocks, where white
// noise of standard deviation 1 gives kBlockResponse (measured on 86 x 100 x 82 voxels).
constexpr int kBlock = 4;
constexpr double kFlattestPercentile = 10.0;
constexpr double kBlockResponse = 0.672;
constexpr size_t kFewestBlocks = 20;
constexpr int64_t kFewestVoxels = 1000;
// The air tells more than the tissue unless it is far quieter: then it was masked or suppressed.
constexpr double kQuietestAir = 0.4;
// Of white noise in air, of one coil or many, a block's detail has 0.94 to 0.95 of its spread
// (medians, measured). Interpolated, filtered and zero-filled scans have none at the corner of
// k-space that the detail is from; Hann filters of 0.4 and zero filling by 1.33 have 0.86 and less.
constexpr double kWhite = 0.89;
constexpr size_t kFewestAirBlocks = 100;
constexpr int kMostZeros = kBlock * kBlock * kBlock / 4;  // else it is masked
// Standard deviation of Rayleigh noise, where that of its two parts is 1.
const double kRayleighSpread = std::sqrt(2 - std::acos(-1.0) / 2);

// Norm of the weights over three axes.
double detail_norm() { return std::pow(std::sqrt(70.0), 3); }

// `count` fourth differences of values that are `apart` from each other.
MDR_CLONES void difference(const float* from, int64_t count, int64_t apart, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int k = 0; k < 5; ++k) sum += kDetail[k] * from[i + k * apart];
    to[i] = sum;
  }
}

// The detail of one scan, slice by slice: fourth differences along z, y and x.
class Detail {
 public:
  Detail(const float* volume, const VolumeShape& shape)
      : volume_(volume),
        shape_(shape),
        size_{shape.nz - 2 * kReach, shape.ny - 2 * kReach, shape.nx - 2 * kReach} {}

  // Voxel (z, y, x) of the detail is over voxel (z + kReach, y + kReach, x + kReach) of the scan.
  const VolumeShape& size() const { return size_; }

  void slice(int64_t z, std::vector<float>& work, float* out) const {
    const int64_t along_y = size_.ny * int64_t{shape_.nx};
    work.resize(shape_.slice() + along_y);
    float* along_z_done = work.data();
    float* along_y_done = work.data() + shape_.slice();
    difference(volume_ + z * shape_.slice(), shape_.slice(), shape_.slice(), along_z_done);
    difference(along_z_done, along_y, shape_.nx, along_y_done);
    for (int64_t y = 0; y < size_.ny; ++y) {
      difference(along_y_done + y * shape_.nx, size_.nx, 1, out + y * size_.nx);
    }
  }

 private:
  const float* volume_;
  VolumeShape shape_, size_;
};

// Whether a mask is `value` in all of a cube of the scan, whose first voxel is (z, y, x).
bool is_all(const Foreground& head, const Foreground::Mask& mask, bool value, int64_t z, int64_t y,
            int64_t x, int64_t edge) {
  const auto [bz, by, bx] = head.block;
  for (int64_t k = z / bz; k <= (z + edge - 1) / bz; ++k) {
    for (int64_t j = y / by; j <= (y + edge - 1) / by; ++j) {
      for (int64_t i = x / bx; i <= (x + edge - 1) / bx; ++i) {
        if ((mask[k * head.blocks.slice() + j * head.blocks.nx + i] != 0) != value) return false;
      }
    }
  }
  return true;
}

double mean_square(const float* first, const VolumeShape& size) {
  double sum = 0;
  for (int z = 0; z < kBlock; ++z) {
    for (int y = 0; y < kBlock; ++y) {
      const float* row = first + z * size.slice() + int64_t{y} * size.nx;
      for (int x = 0; x < kBlock; ++x) sum += double{row[x]} * row[x];
    }
  }
  return sum / (kBlock * kBlock * kBlock);
}

// Standard deviation of a block of the scan; 0 of one that was masked.
double spread_of(const float* first, const VolumeShape& shape) {
  double sum = 0, squares = 0;
  int zeros = 0;
  for (int z = 0; z < kBlock; ++z) {
    for (int y = 0; y < kBlock; ++y) {
      const float* row = first + z * shape.slice() + int64_t{y} * shape.nx;
      for (int x = 0; x < kBlock; ++x) {
        sum += row[x];
        squares += double{row[x]} * row[x];
        zeros += row[x] == 0;
      }
    }
  }
  constexpr int kCount = kBlock * kBlock * kBlock;
  if (zeros > kMostZeros) return 0;
  return std::sqrt(std::max(squares - sum * sum / kCount, 0.0) / (kCount - 1));
}

// What blocks show of noise, in no order.
struct Blocks {
  std::vector<double> detail;  // root mean square, of those that the head holds whole
  // Of those whose detail is of air alone: spread of the voxels, and how much of it is detail.
  std::vector<double> air_spread, air_whiteness;

  void add(const Blocks& more) {
    const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(detail, more.detail);
    append(air_spread, more.air_spread);
    append(air_whiteness, more.air_whiteness);
  }
};

Blocks look_at_blocks(Parallel& parallel, const float* volume, const VolumeShape& shape,
                      const Detail& detail, const Foreground& head) {
  const VolumeShape& size = detail.size();
  Blocks all;
  std::mutex mutex;
  parallel.ranges(size.nz / kBlock, 1, [&](int64_t layer, int64_t) {
    const int64_t z = layer * kBlock;
    std::vector<float> work, slices(kBlock * size.slice());
    for (int k = 0; k < kBlock; ++k) detail.slice(z + k, work, slices.data() + k * size.slice());
    Blocks found;
    for (int64_t y = 0; y + kBlock <= size.ny; y += kBlock) {
      for (int64_t x = 0; x + kBlock <= size.nx; x += kBlock) {
        const auto detail_here = [&] {
          return std::sqrt(mean_square(slices.data() + y * size.nx + x, size));
        };
        if (is_all(head, head.inside, true, z + kReach, y + kReach, x + kReach, kBlock)) {
          found.detail.push_back(detail_here());
        } else if (is_all(head, head.reach, false, z, y, x, kBlock + 2 * kReach)) {
          const double spread = spread_of(
              volume + (z + kReach) * shape.slice() + (y + kReach) * shape.nx + x + kReach, shape);
          if (!(spread > 0)) continue;
          found.air_spread.push_back(spread);
          found.air_whiteness.push_back(detail_here() / (detail_norm() * spread));
        }
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    all.add(found);
  });
  return all;
}

// Median of the detail's size over the head's voxels, or over all where it has none.
double median_detail(Parallel& parallel, const Detail& detail, const Foreground& head) {
  const VolumeShape& size = detail.size();
  const auto voxels = [&](bool all) {
    return Ranked(parallel, size.nz, [&, all](int64_t z, std::vector<float>& values) {
      std::vector<float> work, slice(size.slice());
      detail.slice(z, work, slice.data());
      for (int64_t y = 0; y < size.ny; ++y) {
        const uint8_t* row = head.row(head.inside, z + kReach, y + kReach);
        for (int64_t x = 0; x < size.nx; ++x) {
          if (all || row[(x + kReach) / head.block[2]]) {
            values.push_back(std::abs(slice[y * size.nx + x]));
          }
        }
      }
    });
  };
  Ranked inside = voxels(false);
  return inside.count() > 0 ? inside.percentile(50) : voxels(true).percentile(50);
}

double sigma_in_head(Parallel& parallel, const Detail& detail, const Blocks& blocks,
                     const Foreground& head) {
  if (blocks.detail.size() >= kFewestBlocks) {
    return percentile(blocks.detail, kFlattestPercentile) / (detail_norm() * kBlockResponse);
  }
  return 1.4826 * median_detail(parallel, detail, head) / detail_norm();
}

}  // namespace

double noise_sigma(Parallel& parallel, const float* volume, const VolumeShape& shape,
                   const Foreground& foreground) {
  if (std::min({shape.nz, shape.ny, shape.nx}) < 2 * kReach + 1) {
    fail(ErrorKind::input, "noise_sigma: expected at least ", 2 * kReach + 1,
         " voxels along each axis, found ", shape.nz, " x ", shape.ny, " x ", shape.nx,
         "; a cut-out? Give the whole volume");
  }
  const Detail detail(volume, shape);
  const Blocks blocks = look_at_blocks(parallel, volume, shape, detail, foreground);
  const double head = sigma_in_head(parallel, detail, blocks, foreground);
  if (blocks.air_spread.size() >= kFewestAirBlocks &&
      percentile(blocks.air_whiteness, 50) < kWhite) {
    return std::max(head, percentile(blocks.air_spread, 50) / kRayleighSpread);
  }
  Ranked air(parallel, shape.nz, [&](int64_t z, std::vector<float>& values) {
    foreground.runs(foreground.reach, false, z, [&](int64_t y, int64_t x0, int64_t x1) {
      const float* row = volume + z * shape.slice() + y * shape.nx;
      for (int64_t x = x0; x < x1; ++x) values.push_back(std::abs(row[x]));
    });
  });
  if (air.count() < kFewestVoxels) return head;
  const double in_air = air.percentile(50) / std::sqrt(2 * std::log(2.0));
  return kQuietestAir * head <= in_air && in_air <= head ? in_air : head;
}

}  // namespace mdr
