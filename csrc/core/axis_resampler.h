#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/lane_kernel.h"

namespace mdr {

// Resamples lines along one axis over the same box: voxel j of `to` sits at index
// (j + 0.5) from / to - 0.5 of `from`, and beyond its ends a line is mirrored (d c b a | a b c d).
class AxisResampler {
 public:
  AxisResampler(int from, int to) : from_(from), to_(to) {}
  virtual ~AxisResampler() = default;

  int from() const { return from_; }
  int to() const { return to_; }

  // Floats of working memory that run() needs.
  virtual int64_t scratch() const = 0;

  // kLanes lines of `from` voxels, (from, kLanes), into (to, kLanes). `in` is used up.
  virtual void run(float* in, float* out, float* scratch) const = 0;

 private:
  int from_, to_;
};

// Cubic B-spline through every sample (Unser 1999, Splines: a perfect fit for signal and image
// processing).
std::unique_ptr<AxisResampler> cubic_spline(int from, int to);

// K-space resampling: cut at the new Nyquist frequency towards fewer voxels, filled with zeros
// towards more. In the mirrored world k-space is the DCT-II.
std::unique_ptr<AxisResampler> kspace_band(int from, int to);

// Lines as long as there are gains, each frequency times its own, from 0 to the Nyquist frequency.
std::unique_ptr<AxisResampler> kspace_gains(const std::vector<double>& gains);

}  // namespace mdr
