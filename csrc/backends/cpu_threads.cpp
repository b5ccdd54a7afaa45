#include "backends/cpu_threads.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/error.h"
#include "core/parallel.h"

namespace mdr {
namespace {

int affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// "max 100000" or "250000 100000": quota and period in microseconds (cgroup v2).
int quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || period <= 0) return 0;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

}  // namespace

int usable_cores() {
  const int cores = std::max(1, affinity_cores());
  const int quota = quota_cores();
  return quota > 0 ? std::min(cores, quota) : cores;
}

int host_threads(int asked) {
  if (asked < 0 || asked > kMaxThreads) {
    fail(ErrorKind::input, "threads: expected 0 (all cores) to ", kMaxThreads, ", found ", asked,
         "; probably mistyped; give a number of cores");
  }
  return asked > 0 ? asked : usable_cores();
}

}  // namespace mdr
