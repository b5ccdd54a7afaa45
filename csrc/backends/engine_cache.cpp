#include "backends/engine_cache.h"

#include <algorithm>
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

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
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

// The part of an entry's name that engines of any profile share.
std::string stem(const EngineKey& key) {
  std::string name = key.module + "-" + key.onnx_sha256.substr(0, 16) + "-" + key.backend + "-" +
                     key.device + "-" + key.precision + "-";
  for (char& c : name) c = is_plain(c) ? c : '_';
  return name;
}

// The part that computers with other devices or backend versions share.
std::string stem_with_profile(const EngineKey& key) {
  std::string profile = key.profile;
  for (char& c : profile) c = is_plain(c) ? c : '_';
  return stem(key) + profile + "-";
}

std::string first_line(const fs::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// The manifests of the entries in `folder` whose names start so, the newest first; those of damaged
// ones are left out.
std::vector<Json> manifests(const fs::path& folder, const std::string& start) {
  std::vector<std::pair<fs::file_time_type, Json>> dated;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const bool wanted =
        at->path().extension() == ".engine" && at->path().filename().string().rfind(start, 0) == 0;
    std::error_code unknown;
    const fs::file_time_type written = at->last_write_time(unknown);
    if (!wanted || unknown) continue;
    try {
      dated.emplace_back(written, Json::parse(first_line(at->path())));
    } catch (const JsonError&) {  // a damaged one tells nothing
    }
  }
  std::stable_sort(dated.begin(), dated.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Json> out;
  for (auto& [written, manifest] : dated) out.push_back(std::move(manifest));
  return out;
}

}  // namespace

fs::path EngineCache::path(const EngineKey& key) const {
  const std::string computer = sha256_hex(key.device_name + "\n" + key.backend_version);
  return folder_ / (stem_with_profile(key) + computer.substr(0, 8) + ".engine");
}

// The newest engine of another device or backend version tells what has changed.
std::string EngineCache::why_missing(const EngineKey& key) const {
  const std::vector<Json> siblings = manifests(folder_, stem_with_profile(key));
  const std::string reason = siblings.empty() ? "" : differences(siblings.front(), key);
  return reason.empty() ? "not in the cache" : reason;
}

std::vector<EngineKey> EngineCache::kept(const EngineKey& key) const {
  std::vector<EngineKey> keys;
  for (const Json& manifest : manifests(folder_, stem(key))) {
    const auto member = [&](const char* name) {
      const Json* found = manifest.find(name);
      return found && found->string() ? *found->string() : "";
    };
    EngineKey found = {member("module"),          member("onnx_sha256"), member("backend"),
                       member("backend_version"), member("device"),      member("device_name"),
                       member("precision"),       member("profile")};
    if (found.onnx_sha256 == key.onnx_sha256) keys.push_back(std::move(found));
  }
  return keys;
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
