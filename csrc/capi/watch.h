#pragma once

#include <chrono>
#include <cstdint>

#include "moediff_rt.h"

namespace mdr::capi {

// A caller's patience: its cancel callback, and its deadline from now on.
class Watch {
 public:
  explicit Watch(const mdr_enhance_params& params);

  // Throws what ends the call: Error(ErrorKind::cancelled), or MDR_TIMEOUT.
  void look() const;
  void progress(int done, int total);
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  const mdr_progress_callback progress_;
  const mdr_cancel_callback cancel_;
  void* const user_data_;
  const uint32_t deadline_ms_;
  const Clock::time_point begin_ = Clock::now();
  int done_ = 0, total_ = 0;
};

}  // namespace mdr::capi
