#include "core/slice_profile.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace mdr {
namespace {

const double kPi = std::acos(-1.0);
// Full width at half maximum of a Gaussian of standard deviation 1.
const double kFullWidth = 2 * std::sqrt(2 * std::log(2.0));

// Below this ratio of the coarsest edge to the finest, slices are not thick.
constexpr double kThick = 1.2;
// Lines are means over blocks of about this edge, mm: what is left is low in the other frequencies.
constexpr double kBlockMm = 4.0;
// Power is compared in bands between these shares of the slices' Nyquist frequency.
constexpr int kBands = 6;
constexpr double kLowest = 0.25, kHighest = 0.95;
// Lines that show the anatomy: this many times the power of noise, and so many of them.
constexpr double kAboveNoise = 20;
constexpr size_t kFewestLines = 50;
// A profile is one whose width, squared, comes out above this. Of simulated scans of Colin27 the
// head without a profile gave -0.6 to 0.5, the extracted brain -0.3 to 0.4; with one of width 1
// they gave 0.2 to 1.5 and 0.5 to 1.3. What is missed is taken for a plain cut (docs/pipeline.md).
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

// Mean log power of an axis' lines in each band, frequencies in shares of `nyquist`, 1/mm; nothing
// where bands are empty or too few lines show any anatomy.
std::optional<Bands> log_power(Parallel& parallel, const Lines& lines, double spacing_mm,
                               double nyquist, double noise) {
  const int64_t n = lines.length();
  std::array<std::vector<int64_t>, kBands> frequencies;
  for (int64_t k = 1; k < n; ++k) {
    const double share = k / (2 * n * spacing_mm) / nyquist;
    for (int band = 0; band < kBands; ++band) {
      if (band_edge(band) <= share && share < band_edge(band + 1)) frequencies[band].push_back(k);
    }
  }
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
        for (const int64_t k : frequencies[band]) {
          double sum = 0;
          for (int64_t i = 0; i < n; ++i) sum += line[i] * cosine[k * (2 * i + 1) % (4 * n)];
          power += 2 * sum * sum / n;
        }
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
  const auto [finest, coarsest] = std::minmax_element(spacing_mm.begin(), spacing_mm.end());
  SliceProfile profile{static_cast<int>(coarsest - spacing_mm.begin()), 0};
  if (*coarsest < kThick * *finest) return profile;
  std::array<Bands, 3> power;
  for (int axis = 0; axis < 3; ++axis) {
    const Lines lines(scan, shape, axis, spacing_mm);
    const double noise = sigma * sigma / lines.voxels_a_sample();
    const auto found = log_power(parallel, lines, spacing_mm[axis], 0.5 / *coarsest, noise);
    if (!found) return profile;
    power[axis] = *found;
  }
  // The slope of the difference over the frequency squared, by least squares.
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  Bands x, y;
  for (int band = 0; band < kBands; ++band) {
    const double middle = (band_edge(band) + band_edge(band + 1)) / 2;
    x[band] = middle * middle;
    const int one = (profile.axis + 1) % 3, other = (profile.axis + 2) % 3;
    y[band] = power[profile.axis][band] - (power[one][band] + power[other][band]) / 2;
    mean_x += x[band] / kBands;
    mean_y += y[band] / kBands;
  }
  for (int band = 0; band < kBands; ++band) {
    xx += (x[band] - mean_x) * (x[band] - mean_x);
    xy += (x[band] - mean_x) * (y[band] - mean_y);
  }
  // A Gaussian of width 1 leaves exp(-(pi / kFullWidth)^2) of the power at the Nyquist frequency.
  const double per_width = kPi * kPi / (kFullWidth * kFullWidth);
  if (-xy / xx / per_width > kClear) profile.width = 1;
  return profile;
}

}  // namespace mdr
