#include "capi/log.h"

#include <cstdio>
#include <string>

namespace mdr::capi {

void tell(const Log& log, const EngineReport& report) {
  const std::string reason = report.reason.empty() ? "" : " (" + report.reason + ")";
  log(report.lost ? MDR_LOG_WARNING : MDR_LOG_INFO, report.module, ": ",
      report.cached ? "loaded" : "built", " for ", report.backend, " ", report.device, " ",
      report.precision, " in ", seconds_text(report.seconds), reason);
}

std::string seconds_text(double seconds) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.2f s", seconds);
  return buffer;
}

}  // namespace mdr::capi
