#pragma once

#include <cstdint>
#include <memory>

#include "core/tiler.h"

namespace mdr {

// A volume of its own, (nz, ny, nx) in C order: x is fastest. Not zeroed, so that the threads that
// fill it are the first to touch its pages.
class Voxels {
 public:
  Voxels() = default;
  explicit Voxels(const VolumeShape& shape) : shape_(shape), data_(new float[shape.voxels()]) {}

  const VolumeShape& shape() const { return shape_; }
  float* data() const { return data_.get(); }
  float* slice(int z) const { return data_.get() + z * shape_.slice(); }
  void release() { data_.reset(); }

 private:
  VolumeShape shape_;
  std::unique_ptr<float[]> data_;
};

}  // namespace mdr
