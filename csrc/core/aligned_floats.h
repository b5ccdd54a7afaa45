#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace mdr {

// Zeroed float32 memory on a cache line boundary.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(int64_t count)
      : data_(static_cast<float*>(::operator new[](sizeof(float) * count, kAlignment))) {
    for (int64_t i = 0; i < count; ++i) data_[i] = 0.0f;
  }
  float* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* data) const { ::operator delete[](data, kAlignment); }
  };
  std::unique_ptr<float[], Free> data_;
};

}  // namespace mdr
