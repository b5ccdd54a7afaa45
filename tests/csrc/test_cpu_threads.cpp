#include <fstream>
#include <sstream>

#include "backends/cpu_threads.h"
#include "claim.h"
#include "scratch_folder.h"

using claims::Claim;
using claims::equal;

namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& line) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << line << "\n";
}

int quota(const std::string& memberships, const ScratchFolder& mounted) {
  std::istringstream lines(memberships);
  return mdr::quota_cores(lines, mounted.path());
}

const Claim version_2("version 2: the least quota on the way to the root", [] {
  const ScratchFolder mounted;
  const std::string group = "0::/system.slice/scans.service\n";
  equal(quota(group, mounted), 0);
  write(mounted.path() / "system.slice/scans.service/cpu.max", "max 100000");
  equal(quota(group, mounted), 0);
  write(mounted.path() / "system.slice/cpu.max", "350000 100000");
  equal(quota(group, mounted), 4);
  write(mounted.path() / "system.slice/scans.service/cpu.max", "50000 100000");
  equal(quota(group, mounted), 1);
  equal(quota("0::/user.slice\n", mounted), 0);
});

const Claim version_1("version 1: two files below the controller's folder", [] {
  const ScratchFolder mounted;
  const std::string groups =
      "3:memory:/jobs\n2:cpu,cpuacct:/jobs:odd\n1:name=systemd:/jobs\n0::/\n";
  write(mounted.path() / "memory/jobs/cpu.cfs_quota_us", "100000");
  write(mounted.path() / "memory/jobs/cpu.cfs_period_us", "100000");
  write(mounted.path() / "cpu/jobs:odd/cpu.cfs_quota_us", "-1");
  write(mounted.path() / "cpu/jobs:odd/cpu.cfs_period_us", "100000");
  equal(quota(groups, mounted), 0);
  write(mounted.path() / "cpu/jobs:odd/cpu.cfs_quota_us", "600000");
  equal(quota(groups, mounted), 6);
});

const Claim contained("a container that sees its own group as the root, told another path", [] {
  const ScratchFolder mounted;
  write(mounted.path() / "cpu.max", "200000 100000");
  equal(quota("0::/docker/0a1b2c\n", mounted), 2);
});

}  // namespace
