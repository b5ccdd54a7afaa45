#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mdr {

// Everything that decides whether a stored engine may be used.
struct EngineKey {
  std::string module;
  std::string onnx_sha256;
  std::string backend;
  std::string backend_version;
  std::string device;       // short: "CPU"
  std::string device_name;  // full, as the device calls itself; a CPU with its instructions
  std::string precision;
  std::string profile;  // the shapes it is built for: "b1-3x256x256"
};

// Engines on disk, one file each: a manifest (JSON on one line), then the backend's blob. One
// rename makes an entry, so whoever reads while others write finds a whole one. A cache of bundles,
// never a source: the folder may be emptied at any time.
class EngineCache {
 public:
  explicit EngineCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Lookup {
    std::optional<std::string> blob;
    std::string reason;         // why there is none to use: what differs, or what is damaged
    std::string manifest = {};  // of the engine found
  };
  Lookup find(const EngineKey& key) const;

  // The keys of the entries of `key`'s module, backend, device and precision, whatever their
  // profile, device name and backend version; the newest first. Damaged entries are left out.
  std::vector<EngineKey> kept(const EngineKey& key) const;

  // Returns why the engine could not be kept, or "". A computer whose cache cannot be written still
  // works. `details`: what else the manifest shall say, a JSON object on one line.
  std::string store(const EngineKey& key, std::string_view blob, double seconds,
                    std::string_view details = "{}") const;

  // Computers that differ in device or backend version have entries of their own in one folder.
  std::filesystem::path path(const EngineKey& key) const;

 private:
  std::string why_missing(const EngineKey& key) const;

  std::filesystem::path folder_;
};

}  // namespace mdr
