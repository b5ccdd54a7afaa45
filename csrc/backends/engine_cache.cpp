#include "backends/engine_cache.h"

#include <array>
#include <exception>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/sha256.h"

namespace mdr {
namespace {

namespace fs = std::filesystem;

// Manifest members that must equal the wanted ones, with the words for a difference.
std::array<std::pair<const char*, std::string>, 8> members(const EngineKey& key) {
  return {{{"module", key.module},
           {"onnx_sha256", key.onnx_sha256},
           {"backend", key.backend},
           {"backend_version", key.backend_version},
           {"device", key.device},
           {"device_name", key.device_name},
           {"precision", key.precision},
           {"profile", key.profile}}};
}

std::string words(const std::string& member, const std::string& backend) {
  if (member == "backend_version") return backend;
  if (member == "device_name") return "device";
  return member;
}

std::string differences(const Json& manifest, const EngineKey& key) {
  std::string out;
  for (const auto& [member, wanted] : members(key)) {
    const Json* stored = manifest.find(member);
    const std::string found = stored && stored->string() ? *stored->string() : "unknown";
    if (found == wanted) continue;
    out += text(out.empty() ? "" : ", ", words(member, key.backend), " ", found, " -> ", wanted);
  }
  return out;
}

}  // namespace

fs::path EngineCache::blob_path(const EngineKey& key) const {
  std::string name = key.module + "-" + key.onnx_sha256.substr(0, 16) + "-" + key.backend + "-" +
                     key.device + "-" + key.precision + "-" + key.profile;
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '-' && c != '_') c = '_';
  }
  return folder_ / (name + ".blob");
}

fs::path EngineCache::manifest_path(const EngineKey& key) const {
  return blob_path(key).replace_extension(".json");
}

EngineCache::Lookup EngineCache::find(const EngineKey& key) const {
  std::error_code ignored;
  if (!fs::exists(manifest_path(key), ignored)) return {std::nullopt, "not in the cache"};
  try {
    const Json manifest = Json::parse(read_file(manifest_path(key)));
    const std::string differs = differences(manifest, key);
    if (!differs.empty()) return {std::nullopt, differs};
    const Json* bytes = manifest.find("bytes");
    const Json* sha256 = manifest.find("blob_sha256");
    if (!bytes || !bytes->number() || !sha256 || !sha256->string()) {
      return {std::nullopt, "damaged: its manifest is incomplete"};
    }
    std::string blob = read_file(blob_path(key));
    if (static_cast<double>(blob.size()) != *bytes->number()) {
      return {std::nullopt, text("damaged: ", blob.size(), " bytes, not ", *bytes->number())};
    }
    if (sha256_hex(blob) != *sha256->string()) {
      return {std::nullopt, "damaged: its SHA-256 differs from its manifest's"};
    }
    return {std::move(blob), ""};
  } catch (const JsonError& error) {
    return {std::nullopt, text("damaged: its manifest has ", error.what())};
  } catch (const std::exception& error) {
    return {std::nullopt, text("unreadable: ", error.what())};
  }
}

std::string EngineCache::store(const EngineKey& key, std::string_view blob, double seconds) const {
  std::string manifest = "{";
  for (const auto& [member, value] : members(key)) {
    manifest += text("\n  ", json_quote(member), ": ", json_quote(value), ",");
  }
  manifest += text("\n  \"blob_sha256\": \"", sha256_hex(blob), "\",\n  \"bytes\": ", blob.size(),
                   ",\n  \"build_seconds\": ", seconds, "\n}\n");
  try {
    fs::create_directories(folder_);
    write_atomically(blob_path(key), blob);
    write_atomically(manifest_path(key), manifest);
  } catch (const std::exception& error) {
    return text("not kept: ", error.what());
  }
  return "";
}

}  // namespace mdr
