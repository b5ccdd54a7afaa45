#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/poll.h"

namespace mdr {
namespace {

// What the threads of one loop share.
class Ranges {
 public:
  Ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body)
      : count_(count), grain_(grain), body_(body) {}

  void work(const std::function<void()>& between) {
    try {
      while (!stopped_) {
        const int64_t begin = next_.fetch_add(grain_);
        if (begin >= count_) return;
        body_(begin, std::min(count_, begin + grain_));
        if (between) between();
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
      stopped_ = true;
    }
  }

  // Taken out, so that no thread but the caller's is the last to hold an error of Python's.
  std::exception_ptr take_error() { return std::exchange(error_, nullptr); }

 private:
  const int64_t count_, grain_;
  const std::function<void(int64_t, int64_t)>& body_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

Parallel::Parallel(int threads, std::function<void()> poll)
    : threads_(std::max(1, threads)),
      poll_(std::move(poll)),
      polled_(std::chrono::steady_clock::now()) {}

void Parallel::poll_if_due() {
  const auto now = std::chrono::steady_clock::now();
  if (!poll_ || now - polled_ < kPollEvery) return;
  polled_ = now;
  poll_();
}

void Parallel::ranges(int64_t count, int64_t grain,
                      const std::function<void(int64_t, int64_t)>& body) {
  grain = std::max<int64_t>(1, grain);
  Ranges shared(count, grain, body);
  std::vector<std::thread> others;
  const int64_t useful = std::min<int64_t>(threads_, (count + grain - 1) / grain);
  others.reserve(static_cast<size_t>(std::max<int64_t>(0, useful - 1)));
  for (int64_t i = 1; i < useful; ++i) {
    try {
      others.emplace_back([&shared] { shared.work({}); });
    } catch (...) {
      break;  // no more threads, or no memory for one: those that run do all the work
    }
  }
  shared.work([this] { poll_if_due(); });
  for (std::thread& other : others) other.join();
  if (const std::exception_ptr error = shared.take_error()) std::rethrow_exception(error);
}

}  // namespace mdr
