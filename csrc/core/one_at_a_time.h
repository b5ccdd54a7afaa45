#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

#include "core/poll.h"

namespace mdr {

// What one thread at a time may use. Those that wait for it can give up.
class OneAtATime {
 public:
  class Use {
   public:
    // `poll` may be empty; what it throws ends the waiting.
    Use(OneAtATime& shared, const std::function<void()>& poll) : shared_(shared) {
      std::unique_lock<std::mutex> lock(shared_.mutex_);
      while (!shared_.free_.wait_for(lock, kPollEvery, [&] { return !shared_.used_; })) {
        lock.unlock();
        if (poll) poll();
        lock.lock();
      }
      shared_.used_ = true;
    }
    ~Use() {
      const std::lock_guard<std::mutex> lock(shared_.mutex_);
      shared_.used_ = false;
      shared_.free_.notify_one();
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    OneAtATime& shared_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool used_ = false;
};

}  // namespace mdr
