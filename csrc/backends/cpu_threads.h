#pragma once

namespace mdr {

// Cores that this process may use: its affinity mask and, on Linux, its control group's quota.
int usable_cores();

}  // namespace mdr
