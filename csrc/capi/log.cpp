#include "capi/log.h"

#include <cstdio>

namespace mdr::capi {

std::string seconds_text(double seconds) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.2f s", seconds);
  return buffer;
}

}  // namespace mdr::capi
