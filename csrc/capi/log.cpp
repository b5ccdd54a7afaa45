#include "capi/log.h"

namespace mdr::capi {

mdr_status told(const Log& log, mdr_status status) noexcept {
  if (status == MDR_OK) return status;
  try {
    log(MDR_LOG_ERROR, mdr_last_error());
  } catch (...) {
    // The failure is in the status and the last error whether or not it could be told.
  }
  return status;
}

}  // namespace mdr::capi
