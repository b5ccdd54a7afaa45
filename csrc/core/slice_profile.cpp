#include "core/slice_profile.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/planes.h"

namespace mdr {
namespace {

const double kPi = std::acos(-1.0);
// Full width at half maximum of a Gaussian of standard deviation 1.
const double kFullWidth = 2 * std::sqrt(2 * std::log(2.0));

// Lines are means over blocks of about this edge, mm: what is left is low in the other frequencies.
constexpr double kBlockMm = 4.0;
// Power is compared in bands between these shares of the slices' Nyquist frequency.
constexpr int kBands = 6;
constexpr double kLowest = 0.25, kHighest = 0.95;
// Lines that show the anatomy: this many times the power of noise, and so many of them.
constexpr double kAboveNoise = 20;
constexpr size_t kFewestLines = 50;
// A profile is one whose width, squared, comes out above this: what is not clear is taken for a
// plain cut. How often simulated scans of Colin27 are told right is in docs/pipeline.md.
constexpr double kClear = 0.6;

double band_edge(int band) { return kLowest + (kHighest - kLowest) * band / kBands; }

using Bands = std::array<double, kBands>;

// Lines of a volume along an axis, each the mean over a block of the other two.
class Lines {
 public:
  Lines(const float* volume, const VolumeShape& shape, int axis,
        const std::array<double, 3>& spacing_mm)
      : volume_(volume) {
    const std::array<int64_t, 3> sizes{shape.nz, shape.ny, shape.nx};
    const std::array<int64_t, 3> strides{shape.slice(), shape.nx, 1};
    n_ = sizes[axis];
    stride_ = strides[axis];
    int at = 0;
    for (int other = 0; other < 3; ++other) {
      if (other == axis) continue;
      block_[at] = std::max<int64_t>(1, std::lround(kBlockMm / spacing_mm[other]));
      apart_[at] = strides[other];
      blocks_[at] = sizes[other] / block_[at];
      ++at;
    }
  }

  int64_t length() const { return n_; }
  int64_t count() const { return blocks_[0] * blocks_[1]; }
  int64_t voxels_a_sample() const { return block_[0] * block_[1]; }

  void read(int64_t line, double* out) const {
    const float* first = volume_ + line / blocks_[1] * block_[0] * apart_[0] +
                         line % blocks_[1] * block_[1] * apart_[1];
    for (int64_t i = 0; i < n_; ++i) {
      double sum = 0;
      for (int64_t a = 0; a < block_[0]; ++a) {
        for (int64_t b = 0; b < block_[1]; ++b) {
          sum += first[i * stride_ + a * apart_[0] + b * apart_[1]];
        }
      }
      out[i] = sum / voxels_a_sample();
    }
  }

 private:
  const float* volume_;
  int64_t n_, stride_;
  std::array<int64_t, 2> block_, apart_, blocks_;
};

// The frequencies of lines of n voxels in each band, in shares of `nyquist`, 1/mm.
std::array<std::vector<int64_t>, kBands> frequencies_of(int64_t n, double spacing_mm,
                                                        double nyquist) {
  std::array<std::vector<int64_t>, kBands> frequencies;
  for (int64_t k = 1; k < n; ++k) {
    const double share = k / (2 * n * spacing_mm) / nyquist;
    for (int band = 0; band < kBands; ++band) {
      if (band_edge(band) <= share && share < band_edge(band + 1)) frequencies[band].push_back(k);
    }
  }
  return frequencies;
}

// Power of frequency k of a line of n values, a DCT-II of unit norm.
double power_at(int64_t k, const std::vector<double>& line, const std::vector<double>& cosine) {
  const int64_t n = line.size(), round = cosine.size();
  double sum = 0;
  for (int64_t i = 0, at = k; i < n; ++i) {
    sum += line[i] * cosine[at];
    at += 2 * k;
    if (at >= round) at -= round;
  }
  return 2 * sum * sum / n;
}

// Mean log power in each band of the lines that show the anatomy; nothing where bands are empty or
// such lines too few.
std::optional<Bands> log_power(Parallel& parallel, const Lines& lines, double spacing_mm,
                               double nyquist, double noise) {
  const int64_t n = lines.length();
  const auto frequencies = frequencies_of(n, spacing_mm, nyquist);
  for (const auto& in_band : frequencies) {
    if (in_band.empty()) return std::nullopt;
  }
  std::vector<double> cosine(4 * n);
  for (int64_t i = 0; i < 4 * n; ++i) cosine[i] = std::cos(kPi * i / (2 * n));
  std::vector<Bands> found(lines.count());
  parallel.ranges(lines.count(), 64, [&](int64_t begin, int64_t end) {
    std::vector<double> line(n);
    for (int64_t at = begin; at < end; ++at) {
      lines.read(at, line.data());
      for (int band = 0; band < kBands; ++band) {
        double power = 0;
        for (const int64_t k : frequencies[band]) power += power_at(k, line, cosine);
        found[at][band] = power / frequencies[band].size() - noise;
      }
    }
  });
  Bands sums{};
  size_t told = 0;
  for (const Bands& line : found) {
    double mean = 0;
    for (const double power : line) mean += power / kBands;
    if (!(mean > kAboveNoise * noise)) continue;
    ++told;
    const double least = std::max(0.1 * noise, 1e-6 * mean);
    for (int band = 0; band < kBands; ++band) sums[band] += std::log(std::max(line[band], least));
  }
  if (told < kFewestLines) return std::nullopt;
  for (double& sum : sums) sum /= told;
  return sums;
}

// The square of the width that makes `along` fall off against `across`: a line over the frequency
// squared, by least squares.
double squared_width(const Bands& along, const Bands& across) {
  Bands x;
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (int band = 0; band < kBands; ++band) {
    const double middle = (band_edge(band) + band_edge(band + 1)) / 2;
    x[band] = middle * middle;
    mean_x += x[band] / kBands;
    mean_y += (along[band] - across[band]) / kBands;
  }
  for (int band = 0; band < kBands; ++band) {
    xx += (x[band] - mean_x) * (x[band] - mean_x);
    xy += (x[band] - mean_x) * (along[band] - across[band] - mean_y);
  }
  // A Gaussian of width 1 leaves exp(-(pi / kFullWidth)^2) of the power at the Nyquist frequency.
  return -xy / xx / (kPi * kPi / (kFullWidth * kFullWidth));
}

}  // namespace

std::vector<double> SliceProfile::gains(int slices, int seen) const {
  std::vector<double> gains(seen);
  for (int k = 0; k < seen; ++k) {
    const double angle = kPi * k / slices * width / kFullWidth;
    gains[k] = std::exp(-angle * angle / 2);
  }
  return gains;
}

SliceProfile find_slice_profile(Parallel& parallel, const float* scan, const VolumeShape& shape,
                                const std::array<double, 3>& spacing_mm, double sigma) {
  SliceProfile profile{coarsest_axis(spacing_mm), 0};
  if (!has_thick_slices(spacing_mm)) return profile;
  const double nyquist = 0.5 / spacing_mm[profile.axis];
  Bands along{}, across{};
  for (int axis = 0; axis < 3; ++axis) {
    const Lines lines(scan, shape, axis, spacing_mm);
    const double noise = sigma * sigma / lines.voxels_a_sample();
    const auto found = log_power(parallel, lines, spacing_mm[axis], nyquist, noise);
    if (!found) return profile;
    for (int band = 0; band < kBands; ++band) {
      if (axis == profile.axis) {
        along[band] = (*found)[band];
      } else {
        across[band] += (*found)[band] / 2;
      }
    }
  }
  if (squared_width(along, across) > kClear) profile.width = 1;
  return profile;
}

}  // namespace mdr
