#include "capi/engines_folder.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

namespace mdr::capi {
namespace {

std::filesystem::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// As Python finds it: a service may have no HOME.
std::filesystem::path home() {
  if (auto said = variable("HOME"); !said.empty()) return said;
  std::array<char, 16384> words{};
  passwd entry{}, *found = nullptr;
  getpwuid_r(getuid(), &entry, words.data(), words.size(), &found);
  return found && found->pw_dir ? found->pw_dir : "";
}

}  // namespace

std::string engines_folder() {
  if (const auto root = variable("MOEDIFF_RT_CACHE"); !root.empty()) return root / "engines";
  if (const auto root = variable("XDG_CACHE_HOME"); !root.empty()) {
    return root / "moediff-rt" / "engines";
  }
  const auto root = home();
  return root.empty() ? "" : (root / ".cache" / "moediff-rt" / "engines").string();
}

}  // namespace mdr::capi
