#include "core/output_grid.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/scan_checks.h"

namespace mdr {
namespace {

// Headers round: 0.4999 mm is 0.5 mm.
constexpr double kTolerance = 0.02;
constexpr double kMaxOutputVoxels = 1.5e9;

void check_input_spacing(const Bundle& bundle, const std::array<double, 3>& spacing) {
  const auto found = [&] { return text(spacing[2], " x ", spacing[1], " x ", spacing[0], " mm"); };
  for (const double edge : spacing) {
    if (std::isfinite(edge) && edge > 0) continue;
    fail(ErrorKind::input, "expected three voxel edges above zero in mm, got ", found(),
         "; a unit was probably mistaken; give for example 1, 1 and 3");
  }
  const auto [low, high] = std::minmax_element(spacing.begin(), spacing.end());
  if (*low >= bundle.input_min_mm * (1 - kTolerance) &&
      *high <= bundle.input_max_mm * (1 + kTolerance)) {
    return;
  }
  fail(ErrorKind::input, "expected input voxels from ", bundle.input_min_mm, " to ",
       bundle.input_max_mm, " mm, got ", found(),
       "; the bundle was not trained for this scan: use another scan or bundle");
}

double chosen_spacing(const Bundle& bundle, const std::array<double, 3>& spacing, double wanted) {
  if (wanted != 0) {
    check_output_spacing(bundle, wanted);
    return wanted;
  }
  const double half = *std::min_element(spacing.begin(), spacing.end()) / 2;
  return std::min(std::max(half, bundle.output_min_mm), bundle.output_max_mm);
}

}  // namespace

void check_output_spacing(const Bundle& bundle, double output_spacing_mm) {
  const double low = bundle.output_min_mm, high = bundle.output_max_mm;
  if (output_spacing_mm >= low * (1 - kTolerance) && output_spacing_mm <= high * (1 + kTolerance)) {
    return;
  }
  fail(ErrorKind::input, "expected an output spacing from ", low, " to ", high, " mm, got ",
       output_spacing_mm,
       " mm; the bundle was not trained outside it: choose a spacing within, or another bundle");
}

VolumeShape output_shape(const Bundle& bundle, const VolumeShape& scan,
                         const std::array<double, 3>& spacing_mm, double output_spacing_mm) {
  check_scan_shape(scan);
  check_input_spacing(bundle, spacing_mm);
  const double edge = chosen_spacing(bundle, spacing_mm, output_spacing_mm);
  const std::array<int, 3> counts{scan.nz, scan.ny, scan.nx};
  std::array<double, 3> sizes;
  for (int axis = 0; axis < 3; ++axis) {
    // Halves go to the even side.
    sizes[axis] = std::max(1.0, std::nearbyint(counts[axis] * spacing_mm[axis] / edge));
  }
  check_axes("the output", {static_cast<int64_t>(sizes[0]), static_cast<int64_t>(sizes[1]),
                            static_cast<int64_t>(sizes[2])});
  if (sizes[0] * sizes[1] * sizes[2] > kMaxOutputVoxels) {
    fail(ErrorKind::input, "expected at most ", static_cast<int64_t>(kMaxOutputVoxels),
         " output voxels, the spacing asks for ", sizes[2], " x ", sizes[1], " x ", sizes[0],
         "; choose a coarser spacing");
  }
  return {static_cast<int>(sizes[0]), static_cast<int>(sizes[1]), static_cast<int>(sizes[2])};
}

}  // namespace mdr
