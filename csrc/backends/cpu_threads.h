#pragma once

namespace mdr {

// Cores that this process may use: its affinity mask and, on Linux, its control group's quota.
int usable_cores();

// Threads for `asked`, 0 for all usable cores. Throws Error(ErrorKind::input) for what is no number
// of threads.
int host_threads(int asked);

}  // namespace mdr
