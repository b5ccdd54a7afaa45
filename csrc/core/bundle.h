#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/tile_size.h"
#include "ops/experts.h"

namespace mdr {

constexpr int kBundleFormatVersion = 3;
// In which a volume may be cut into slices: axial, coronal, sagittal.
constexpr int kMostPlanes = 3;

struct ModuleFile {
  std::string name;
  std::string file;
  std::string sha256;
  int64_t bytes = 0;
};

struct SamplerSettings {
  std::string method;
  std::string start;
  int steps = 0;
  int start_timestep = 0;
  double eta = 0;
  int planes = 1;  // that slices are enhanced in: core/planes.h
};

// What bundle.json says. Sizes in pixels, latent cells or gate cells, all of the largest tile;
// spacings in mm.
struct Bundle {
  std::filesystem::path path;
  std::string name;
  std::string hash;
  std::string json;
  int format_version = 0;
  int tile_height = 0, tile_width = 0;
  TileSize smallest_tile, tile_pitch;
  int tile_slices = 0;  // odd; the middle one is enhanced
  int latent_channels = 0, latent_height = 0, latent_width = 0;
  int condition_channels = 0;
  int experts = 0, gate_height = 0, gate_width = 0;
  std::vector<std::string> expert_names;
  std::vector<double> alphas_cumprod;
  SamplerSettings sampler;
  double percentile = 0, intensity_value = 0;
  double gate_threshold = 0;
  int tile_overlap = 0;
  double output_min_mm = 0, output_max_mm = 0, input_min_mm = 0, input_max_mm = 0;
  std::vector<ModuleFile> modules;
  std::vector<ModuleFile> int8_modules;  // 8-bit forms of some of them; may be none

  // Pixels per latent cell.
  int align_y() const { return tile_height / latent_height; }
  int align_x() const { return tile_width / latent_width; }
  TileSize tile() const { return {tile_height, tile_width}; }
  TileSizes tile_sizes() const { return {smallest_tile, tile(), tile_pitch}; }
  const ModuleFile& module(const std::string& module_name) const;
  // Null where the module has no 8-bit form.
  const ModuleFile* int8_module(const std::string& module_name) const;
  // Gates along the axes of a tile of another size, in place of pixels.
  TileSize gate_size(TileSize size) const;
  // The same with the sizes of another tile, one of tile_sizes().
  Bundle with_tile(TileSize size) const;
};

// Reads and verifies the folder: format, sizes and the SHA-256 of every file. Throws
// Error(ErrorKind::bundle) before anything is loaded.
Bundle load_bundle(const std::filesystem::path& path);

}  // namespace mdr
