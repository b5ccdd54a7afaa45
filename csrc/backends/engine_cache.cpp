#include "backends/engine_cache.h"

#include <array>
#include <exception>
#include <fstream>
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

// The part of an entry's name that computers with other devices or backend versions share.
std::string stem(const EngineKey& key) {
  std::string name = key.module + "-" + key.onnx_sha256.substr(0, 16) + "-" + key.backend + "-" +
                     key.device + "-" + key.precision + "-" + key.profile + "-";
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '-' && c != '_') c = '_';
  }
  return name;
}

}  // namespace

fs::path EngineCache::path(const EngineKey& key) const {
  const std::string computer = sha256_hex(key.device_name + "\n" + key.backend_version);
  return folder_ / (stem(key) + computer.substr(0, 8) + ".engine");
}

// The newest engine of another device or backend version tells what has changed.
std::string EngineCache::why_missing(const EngineKey& key) const {
  std::string reason;
  fs::file_time_type newest = fs::file_time_type::min();
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    const bool sibling = at->path().extension() == ".engine" &&
                         at->path().filename().string().rfind(stem(key), 0) == 0;
    std::error_code unknown;
    const fs::file_time_type written = at->last_write_time(unknown);
    if (!sibling || unknown || written <= newest) continue;
    std::string manifest;
    std::ifstream file(at->path());
    std::getline(file, manifest);
    try {
      reason = differences(Json::parse(manifest), key);
      newest = written;
    } catch (const JsonError&) {  // a damaged one tells nothing
    }
  }
  return reason.empty() ? "not in the cache" : reason;
}

EngineCache::Lookup EngineCache::find(const EngineKey& key) const {
  try {
    if (!fs::exists(path(key))) return {std::nullopt, why_missing(key)};
    std::string entry = read_file(path(key));
    const size_t end = entry.find('\n');
    const Json manifest = Json::parse(std::string_view(entry).substr(0, end));
    const std::string differs = differences(manifest, key);
    if (!differs.empty()) return {std::nullopt, differs};
    const Json* bytes = manifest.find("bytes");
    const Json* sha256 = manifest.find("blob_sha256");
    if (!bytes || !bytes->number() || !sha256 || !sha256->string()) {
      return {std::nullopt, "damaged: its manifest is incomplete"};
    }
    std::string head = entry.substr(0, end);
    std::string& blob = entry.erase(0, end == std::string::npos ? end : end + 1);
    if (static_cast<double>(blob.size()) != *bytes->number()) {
      return {std::nullopt, text("damaged: ", blob.size(), " bytes, not ", *bytes->number())};
    }
    if (sha256_hex(blob) != *sha256->string()) {
      return {std::nullopt, "damaged: its SHA-256 differs from its manifest's"};
    }
    return {std::move(blob), "", std::move(head)};
  } catch (const JsonError& error) {
    return {std::nullopt, text("damaged: its manifest has ", error.what())};
  } catch (const std::exception& error) {
    return {std::nullopt, text("unreadable: ", error.what())};
  }
}

std::string EngineCache::store(const EngineKey& key, std::string_view blob, double seconds,
                               std::string_view details) const {
  std::string entry = "{";
  for (const auto& [member, value] : members(key)) {
    entry += text(json_quote(member), ": ", json_quote(value), ", ");
  }
  entry += text("\"blob_sha256\": \"", sha256_hex(blob), "\", \"bytes\": ", blob.size(),
                ", \"build_seconds\": ", seconds, ", \"details\": ", details, "}\n");
  entry += blob;
  try {
    fs::create_directories(folder_);
    write_atomically(path(key), entry);
  } catch (const std::exception& error) {
    return text("not kept: ", error.what());
  }
  return "";
}

}  // namespace mdr
