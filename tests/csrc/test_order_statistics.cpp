#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "claim.h"
#include "core/order_statistics.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

double from_sorted(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * (values.size() - 1);
  const auto low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (place - low);
}

const Claim known("a percentile is linear between its neighbours", [] {
  equal(percentile({4, 1, 3, 2}, 50), 2.5);
  equal(percentile({4, 1, 3, 2}, 0), 1.0);
  equal(percentile({4, 1, 3, 2}, 100), 4.0);
  equal(percentile({4, 1, 3, 2, 5}, 10), 1.4);
  equal(percentile({7}, 99.5), 7.0);
});

const Claim ranked("values looked at part by part rank as they do sorted", [] {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const int count : {1, 2, 100, 20011}) {
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    values[0] = -0.0f;
    values[count / 2] = -1e30f;
    for (int i = 0; i < count / 3; ++i) values[random() % count] = 0.25f;
    const std::vector<double> all(values.begin(), values.end());
    for (const int threads : {1, 4}) {
      Parallel parallel(threads);
      const int64_t parts = 37;
      Ranked found(parallel, parts, [&](int64_t part, std::vector<float>& into) {
        for (size_t i = part; i < values.size(); i += parts) into.push_back(values[i]);
      });
      equal(found.count(), static_cast<int64_t>(count));
      for (const double percent : {0.0, 0.1, 10.0, 50.0, 99.5, 100.0}) {
        equal(found.percentile(percent), from_sorted(all, percent));
        equal(percentile(all, percent), from_sorted(all, percent));
      }
    }
  }
});

const Claim none("no values have no percentile", [] {
  Parallel parallel(2);
  Ranked found(parallel, 5, [](int64_t, std::vector<float>&) {});
  equal(found.count(), int64_t{0});
  check(std::isnan(found.percentile(50)), "found ", found.percentile(50));
});

}  // namespace
