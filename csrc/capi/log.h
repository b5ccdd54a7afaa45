#pragma once

#include <string>

#include "backends/backend.h"
#include "core/error.h"
#include "moediff_rt.h"

namespace mdr::capi {

// The caller's log callback, from its level on. A failure to tell is not one of what is told of.
class Log {
 public:
  Log() = default;
  Log(mdr_log_callback callback, int level, void* user_data)
      : callback_(callback), level_(level), user_data_(user_data) {}

  template <typename... Parts>
  void operator()(mdr_log_level level, const Parts&... parts) const noexcept {
    if (!callback_ || level < level_) return;
    try {
      callback_(level, text(parts...).c_str(), user_data_);
    } catch (...) {
    }
  }

 private:
  mdr_log_callback callback_ = nullptr;
  int level_ = MDR_LOG_NONE;
  void* user_data_ = nullptr;
};

// An engine that was built or loaded; a warning where it could not be kept.
void tell(const Log& log, const EngineReport& report);

// "12.34 s"
std::string seconds_text(double seconds);

}  // namespace mdr::capi
