#include "capi/status.h"

#include <cstring>
#include <new>

namespace mdr::capi {
namespace {

// Of fixed size, so that telling of a failure cannot fail.
constexpr size_t kLongest = 4096;
thread_local char last_error[kLongest] = "";

mdr_status remember(mdr_status status, const char* what) noexcept {
  size_t length = std::strlen(what);
  if (length >= kLongest) length = kLongest - 1;
  std::memcpy(last_error, what, length);
  last_error[length] = '\0';
  for (size_t i = 0; i < length; ++i) {
    if (last_error[i] == '\n') last_error[i] = ' ';
  }
  return status;
}

mdr_status status_of(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::input:
      return MDR_INPUT_ERROR;
    case ErrorKind::bundle:
      return MDR_BUNDLE_ERROR;
    case ErrorKind::engine:
      return MDR_ENGINE_ERROR;
    case ErrorKind::backend:
      return MDR_BACKEND_ERROR;
    case ErrorKind::memory:
    case ErrorKind::exhausted:
      return MDR_OUT_OF_MEMORY;
    case ErrorKind::cancelled:
      return MDR_CANCELLED;
    case ErrorKind::output:
      break;
  }
  return MDR_INTERNAL_ERROR;
}

}  // namespace

mdr_status status_of_current() noexcept {
  try {
    throw;
  } catch (const Refusal& refusal) {
    return remember(refusal.status(), refusal.what());
  } catch (const Error& error) {
    return remember(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return remember(MDR_OUT_OF_MEMORY,
                    "memory: expected more of it, found that the system gives no more; the volume "
                    "is probably too large for this computer; choose a coarser output or a slab");
  } catch (const std::exception& error) {
    return remember(MDR_INTERNAL_ERROR, error.what());
  } catch (...) {
    return remember(
        MDR_INTERNAL_ERROR,
        "expected no exception, found one of an unknown kind; a callback probably threw "
        "it; catch it there");
  }
}

}  // namespace mdr::capi

extern "C" {

const char* mdr_last_error(void) { return mdr::capi::last_error; }

const char* mdr_status_name(mdr_status status) {
  switch (status) {
    case MDR_OK:
      return "MDR_OK";
    case MDR_INVALID_ARGUMENT:
      return "MDR_INVALID_ARGUMENT";
    case MDR_INPUT_ERROR:
      return "MDR_INPUT_ERROR";
    case MDR_BUNDLE_ERROR:
      return "MDR_BUNDLE_ERROR";
    case MDR_ENGINE_ERROR:
      return "MDR_ENGINE_ERROR";
    case MDR_BACKEND_ERROR:
      return "MDR_BACKEND_ERROR";
    case MDR_CANCELLED:
      return "MDR_CANCELLED";
    case MDR_TIMEOUT:
      return "MDR_TIMEOUT";
    case MDR_OUT_OF_MEMORY:
      return "MDR_OUT_OF_MEMORY";
    case MDR_INTERNAL_ERROR:
      return "MDR_INTERNAL_ERROR";
  }
  return "unknown status";
}

}  // extern "C"
