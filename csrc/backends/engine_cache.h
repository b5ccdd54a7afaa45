#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mdr {

// Everything that decides whether a stored engine may be used.
struct EngineKey {
  std::string module;
  std::string onnx_sha256;
  std::string backend;
  std::string backend_version;
  std::string device;       // short: "CPU"
  std::string device_name;  // full
  std::string precision;
  std::string profile;  // the shapes it is built for: "b1"
};

// Engines on disk: one blob and one JSON manifest each. A cache of bundles, never a source.
class EngineCache {
 public:
  explicit EngineCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Lookup {
    std::optional<std::string> blob;
    std::string reason;  // why there is none to use: what differs, or what is damaged
  };
  Lookup find(const EngineKey& key) const;

  // Returns why the engine could not be kept, or "". A computer whose cache cannot be written still
  // works.
  std::string store(const EngineKey& key, std::string_view blob, double seconds) const;

  std::filesystem::path blob_path(const EngineKey& key) const;

 private:
  std::filesystem::path manifest_path(const EngineKey& key) const;

  std::filesystem::path folder_;
};

}  // namespace mdr
