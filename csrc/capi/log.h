#pragma once

#include "core/error.h"
#include "moediff_rt.h"

namespace mdr::capi {

// The caller's log callback, from its level on.
class Log {
 public:
  Log() = default;
  Log(mdr_log_callback callback, int level, void* user_data)
      : callback_(callback), level_(level), user_data_(user_data) {}

  template <typename... Parts>
  void operator()(mdr_log_level level, const Parts&... parts) const {
    if (wants(level)) callback_(level, text(parts...).c_str(), user_data_);
  }
  bool wants(mdr_log_level level) const { return callback_ && level >= level_; }

 private:
  mdr_log_callback callback_ = nullptr;
  int level_ = MDR_LOG_NONE;
  void* user_data_ = nullptr;
};

// Tells of a failure, and gives its status back.
mdr_status told(const Log& log, mdr_status status) noexcept;

}  // namespace mdr::capi
