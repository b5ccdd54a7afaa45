#pragma once

#include <filesystem>
#include <istream>

namespace mdr {

// Cores that this process may use: its affinity mask and, on Linux, its control groups' quota.
int usable_cores();

// The least quota in whole cores, rounded up, of the control groups that "/proc/self/cgroup" names,
// and of those that they are in, versions 1 and 2; 0 where none has one.
int quota_cores(std::istream& memberships, const std::filesystem::path& mounted);

// Threads for `asked`, 0 for all usable cores. Throws Error(ErrorKind::input) for what is no number
// of threads.
int host_threads(int asked);

}  // namespace mdr
