#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "core/error.h"
#include "moediff_rt.h"

namespace mdr::capi {

// A failure that the core has no kind for.
class Refusal : public std::runtime_error {
 public:
  Refusal(mdr_status status, const std::string& what) : std::runtime_error(what), status_(status) {}
  mdr_status status() const { return status_; }

 private:
  mdr_status status_;
};

template <typename... Parts>
[[noreturn]] void refuse(mdr_status status, const Parts&... parts) {
  throw Refusal(status, text(parts...));
}

// Throws MDR_INVALID_ARGUMENT where `pointer` is null.
template <typename Pointer>
void need(Pointer pointer, const char* function, const char* name) {
  if (pointer) return;
  refuse(MDR_INVALID_ARGUMENT, function, ": expected a pointer for ", name,
         ", found NULL; it was probably never set, or the call that sets it failed; check its "
         "status");
}

// The status of the exception being handled, whose text becomes the thread's last error.
mdr_status status_of_current() noexcept;

// Where C begins: what `body` throws ends here.
template <typename Body>
mdr_status guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return MDR_OK;
  } catch (...) {
    return status_of_current();
  }
}

}  // namespace mdr::capi
