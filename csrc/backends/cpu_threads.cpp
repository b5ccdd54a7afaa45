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

namespace fs = std::filesystem;

int affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Of one control group, 0 for none. Quota and period are microseconds: "250000 100000" or, for no
// quota, "max 100000" in a file of version 2; in two files of version 1, the quota -1 for none.
int own_quota(const fs::path& group) {
  double quota = 0, period = 0;
  std::ifstream both(group / "cpu.max");
  if (!(both >> quota >> period)) {
    std::ifstream first(group / "cpu.cfs_quota_us"), second(group / "cpu.cfs_period_us");
    if (!(first >> quota && second >> period)) return 0;
  }
  if (quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

// The least of a group's and those it is in; where a container sees its own group as the root, the
// path that it is told may not be there, but the root is.
int least_quota(const fs::path& root, fs::path group) {
  int least = 0;
  for (;; group = group.parent_path()) {
    const int cores = own_quota(root / group);
    if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
    if (group.empty()) return least;
  }
}

}  // namespace

int quota_cores(std::istream& memberships, const fs::path& mounted) {
  int least = 0;
  std::string number, controllers, group;
  while (std::getline(memberships, number, ':') && std::getline(memberships, controllers, ':') &&
         std::getline(memberships, group)) {
    const bool cpu = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!controllers.empty() && !cpu) continue;
    const fs::path root = controllers.empty() ? mounted : mounted / "cpu";
    const int cores = least_quota(root, fs::path(group).relative_path());
    if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
  }
  return least;
}

int usable_cores() {
  const int cores = std::max(1, affinity_cores());
  std::ifstream memberships("/proc/self/cgroup");
  const int quota = quota_cores(memberships, "/sys/fs/cgroup");
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
