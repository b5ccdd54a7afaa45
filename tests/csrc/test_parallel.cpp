#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "claim.h"
#include "core/parallel.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

const Claim once("every item is visited once, in the same ranges for any number of threads", [] {
  for (const int64_t count : {0, 1, 7, 64, 1000}) {
    for (const int64_t grain : {1, 3, 64, 5000}) {
      std::set<std::pair<int64_t, int64_t>> expected;
      for (int64_t at = 0; at < count; at += grain) {
        expected.insert({at, std::min(count, at + grain)});
      }
      for (const int threads : {-1, 1, 2, 9}) {
        std::mutex mutex;
        std::multiset<std::pair<int64_t, int64_t>> found;
        Parallel(threads).ranges(count, grain, [&](int64_t begin, int64_t end) {
          const std::lock_guard<std::mutex> lock(mutex);
          found.insert({begin, end});
        });
        check(found.size() == expected.size() &&
                  std::equal(found.begin(), found.end(), expected.begin()),
              count, " items by ", grain, " on ", threads);
      }
    }
  }
});

const Claim passed_on("what a range throws ends the loop and is passed on", [] {
  for (const int threads : {1, 4}) {
    std::atomic<int> calls{0};
    throws<std::runtime_error>("range 3", [&] {
      Parallel(threads).ranges(100000, 1, [&](int64_t begin, int64_t) {
        ++calls;
        if (begin == 3) throw std::runtime_error("range 3");
      });
    });
    check(calls < 100000, "the loop went on to its end");
  }
});

const Claim polled("poll runs on the calling thread, and what it throws ends the loop", [] {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> over{false};
  Parallel parallel(3, [&] {
    equal(std::this_thread::get_id() == caller, true);
    over = true;
    throw std::runtime_error("asked to stop");
  });
  throws<std::runtime_error>("asked to stop", [&] {
    parallel.ranges(int64_t{1} << 40, 1, [&](int64_t, int64_t) {
      if (!over) std::this_thread::yield();
    });
  });
});

}  // namespace
