#include "core/order_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <numeric>
#include <utility>

namespace mdr {
namespace {

constexpr int kBins = 1 << 16;

// A number that is in the order of the values.
uint32_t sort_key(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

float from_sort_key(uint32_t key) {
  const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The bin that holds `rank`, and the rank within it.
std::pair<int64_t, int64_t> find_rank(const std::vector<int64_t>& histogram, int64_t rank) {
  int64_t bin = 0;
  while (rank >= histogram[bin]) rank -= histogram[bin++];
  return {bin, rank};
}

// The percentile of `count` sorted values.
template <typename Value>
double between_ranks(int64_t count, double percent, const Value& value) {
  const double place = percent / 100 * static_cast<double>(count - 1);
  const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(place), 0, count - 1);
  const double low = value(rank);
  const double high = rank + 1 < count ? value(rank + 1) : low;
  return low + (high - low) * (place - static_cast<double>(rank));
}

}  // namespace

double percentile(std::vector<double> values, double percent) {
  return between_ranks(static_cast<int64_t>(values.size()), percent, [&](int64_t rank) {
    std::nth_element(values.begin(), values.begin() + rank, values.end());
    return values[rank];
  });
}

Ranked::Ranked(Parallel& parallel, int64_t parts, Part part)
    : parallel_(parallel), parts_(parts), part_(std::move(part)) {
  upper_ = histogram([](uint32_t key) { return static_cast<int64_t>(key >> 16); });
  count_ = std::accumulate(upper_.begin(), upper_.end(), int64_t{0});
}

template <typename Bin>
Ranked::Histogram Ranked::histogram(const Bin& bin) const {
  Histogram total(kBins);
  std::mutex mutex;
  const int64_t grain = (parts_ + 31) / 32;  // a histogram each: not too many of them
  parallel_.ranges(parts_, grain, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> counts(kBins);
    std::vector<float> values;
    for (int64_t part = begin; part < end; ++part) {
      values.clear();
      part_(part, values);
      for (const float value : values) {
        const int64_t at = bin(sort_key(value));
        if (at >= 0) ++counts[at];
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (int i = 0; i < kBins; ++i) total[i] += counts[i];
  });
  return total;
}

float Ranked::value(int64_t rank) {
  const auto [upper, rest] = find_rank(upper_, rank);
  if (upper != lower_of_) {
    lower_ = histogram([upper = upper](uint32_t key) {
      return key >> 16 == upper ? static_cast<int64_t>(key & 0xffffu) : int64_t{-1};
    });
    lower_of_ = upper;
  }
  const int64_t lower = find_rank(lower_, rest).first;
  return from_sort_key(static_cast<uint32_t>(upper << 16 | lower));
}

double Ranked::percentile(double percent) {
  if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
  return between_ranks(count_, percent, [&](int64_t rank) { return double{value(rank)}; });
}

}  // namespace mdr
