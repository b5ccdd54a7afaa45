#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace mdr {

constexpr int kMaxThreads = 1024;  // more is a mistyped number

// The threads that share loops. `poll` is called on the calling thread about ten times a second
// while a loop runs; what it throws, like what a loop's body throws, ends the loop and is passed
// on.
class Parallel {
 public:
  explicit Parallel(int threads, std::function<void()> poll = {});

  int threads() const { return threads_; }

  // Calls body(begin, end) once for each range of `grain` items in [0, count). Where ranges begin
  // does not depend on the threads, and so no result that is made range by range does.
  void ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  void poll_if_due();

  int threads_;
  std::function<void()> poll_;
  std::chrono::steady_clock::time_point polled_;
};

}  // namespace mdr
