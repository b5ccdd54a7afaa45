#include "capi/engines_folder.h"

#include <cstdlib>
#include <filesystem>

namespace mdr::capi {
namespace {

std::filesystem::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::string engines_folder() {
  if (const auto root = variable("MOEDIFF_RT_CACHE"); !root.empty()) return root / "engines";
  if (const auto root = variable("XDG_CACHE_HOME"); !root.empty()) {
    return root / "moediff-rt" / "engines";
  }
  const auto home = variable("HOME");
  return home.empty() ? "" : (home / ".cache" / "moediff-rt" / "engines").string();
}

}  // namespace mdr::capi
