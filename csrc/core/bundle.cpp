#include "core/bundle.h"

#include <cmath>
#include <system_error>

#include "core/bundle_fields.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/sampler.h"
#include "core/sha256.h"

namespace mdr {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxSize = 4096;
constexpr int kMaxSlices = 15;
constexpr const char* kCopyAgain = "copy the bundle again from its source";

std::string read_card(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    fail(ErrorKind::bundle, "load_bundle: expected a bundle folder, found ",
         fs::exists(folder, ignored) ? "a file" : "nothing", " at ", folder.string(),
         "; the path is probably mistyped; give the folder that holds bundle.json");
  }
  const fs::path card = folder / "bundle.json";
  if (!fs::is_regular_file(card, ignored)) {
    fail(ErrorKind::bundle, "load_bundle: expected bundle.json in ", folder.string(),
         ", found none; this is probably not a bundle; give the folder that holds bundle.json");
  }
  try {
    return read_file(card);
  } catch (const std::exception& error) {
    fail(ErrorKind::bundle, "load_bundle: expected a readable bundle.json, found ", error.what(),
         "; probably missing permission; make the bundle readable");
  }
}

Json parse_card(const std::string& text, const std::string& file) {
  try {
    return Json::parse(text);
  } catch (const JsonError& error) {
    fail(ErrorKind::bundle, "load_bundle: expected JSON in ", file, ", found ", error.what(),
         "; the file is probably damaged or was edited by hand; ", kCopyAgain);
  }
}

void check_format(const BundleFields& card) {
  const std::string format = card.string("format");
  if (format != "moediff-bundle") card.wrong("format", "\"moediff-bundle\"", json_quote(format));
  const int version = card.integer("format_version", 0, 1000000);
  if (version != kBundleFormatVersion) {
    fail(ErrorKind::bundle, "load_bundle: expected format_version ", kBundleFormatVersion,
         " (all this program supports), found ", version, " in ", card.file(),
         "; the bundle was probably made by ",
         version > kBundleFormatVersion ? "a newer moediff-export; update moediff-rt"
                                        : "an older moediff-export; export it again");
  }
}

// One axis of the tiles: `latent` and `gate` are the cells of the largest.
void check_tile_axis(const BundleFields& card, const std::string& axis, int largest, int smallest,
                     int pitch, int latent, int gate) {
  if (smallest % pitch || largest % pitch) {
    card.wrong("tile.pitch." + axis, text("a divisor of the tile's ", axis, "s"),
               text(pitch, " for ", smallest, " to ", largest));
  }
  if (int64_t{pitch} * latent % largest || int64_t{pitch} * gate % largest) {
    card.wrong("tile.pitch." + axis, "whole latent and gate cells",
               text(pitch, " with ", latent, " and ", gate, " cells in ", largest));
  }
}

void read_tile_sizes(const BundleFields& card, Bundle& bundle) {
  const int height = bundle.tile_height, width = bundle.tile_width;
  TileSize& smallest = bundle.smallest_tile;
  TileSize& pitch = bundle.tile_pitch;
  smallest = {card.integer("tile.smallest.height", 1, height),
              card.integer("tile.smallest.width", 1, width)};
  pitch = {card.integer("tile.pitch.height", 1, smallest.height),
           card.integer("tile.pitch.width", 1, smallest.width)};
  check_tile_axis(card, "height", height, smallest.height, pitch.height, bundle.latent_height,
                  bundle.gate_height);
  check_tile_axis(card, "width", width, smallest.width, pitch.width, bundle.latent_width,
                  bundle.gate_width);
}

void read_sizes(const BundleFields& card, Bundle& bundle) {
  bundle.tile_height = card.integer("tile.height", 1, kMaxSize);
  bundle.tile_width = card.integer("tile.width", 1, kMaxSize);
  bundle.tile_slices = card.integer("tile.slices", 1, kMaxSlices);
  if (bundle.tile_slices % 2 == 0) {
    card.wrong("tile.slices", "an odd number", text(bundle.tile_slices));
  }
  bundle.latent_channels = card.integer("latent.channels", 1, kMaxSize);
  bundle.latent_height = card.integer("latent.height", 1, bundle.tile_height);
  bundle.latent_width = card.integer("latent.width", 1, bundle.tile_width);
  bundle.condition_channels = card.integer("condition.channels", 1, kMaxSize);
  bundle.experts = card.integer("gate.experts", 1, kMaxExperts);
  bundle.gate_height = card.integer("gate.height", 1, kMaxSize);
  bundle.gate_width = card.integer("gate.width", 1, kMaxSize);
  bundle.expert_names = card.strings("gate.names");
  if (static_cast<int>(bundle.expert_names.size()) != bundle.experts) {
    card.wrong("gate.names", text(bundle.experts, " names"), text(bundle.expert_names.size()));
  }
  if (bundle.tile_height % bundle.latent_height || bundle.tile_width % bundle.latent_width) {
    card.wrong("latent", "a height and width that divide the tile's",
               text(bundle.latent_height, " x ", bundle.latent_width, " for a tile of ",
                    bundle.tile_height, " x ", bundle.tile_width));
  }
  read_tile_sizes(card, bundle);
}

void read_schedule(const BundleFields& card, Bundle& bundle) {
  const std::string prediction = card.string("schedule.prediction");
  if (prediction != "x0") card.wrong("schedule.prediction", "\"x0\"", json_quote(prediction));
  bundle.alphas_cumprod = card.numbers("schedule.alphas_cumprod", 100000);
  double last = 1;
  for (const double alpha : bundle.alphas_cumprod) {
    if (!(alpha > 0 && alpha < 1 && alpha <= last)) {
      card.wrong("schedule.alphas_cumprod", "values between 0 and 1 that never rise",
                 text(alpha, " after ", last));
    }
    last = alpha;
  }
  const int steps = static_cast<int>(bundle.alphas_cumprod.size());
  if (steps == 0) card.wrong("schedule.alphas_cumprod", "at least one value", "none");
  SamplerSettings& sampler = bundle.sampler;
  sampler.method = card.choice("sampler.method", {kMethodDdim, kMethodDpmpp2m});
  sampler.start = card.choice("sampler.start", {kStartLowField, kStartNoise});
  sampler.start_timestep = card.integer("sampler.start_timestep", 0, steps - 1);
  sampler.steps = card.integer("sampler.steps", 1, std::max(1, sampler.start_timestep));
  sampler.eta = card.number("sampler.eta", 0, 1);
  sampler.planes = card.integer("sampler.planes", 1, kMostPlanes, 1);
}

void read_settings(const BundleFields& card, Bundle& bundle) {
  bundle.percentile = card.number("intensity.percentile", 0, 100);
  bundle.intensity_value = card.number("intensity.value", 1e-30, 1e30);
  bundle.gate_threshold = card.number("dispatch.gate_threshold", 0, 1);
  if (bundle.gate_threshold * bundle.experts >= 1) {
    card.wrong("dispatch.gate_threshold", text("less than 1/", bundle.experts),
               text(bundle.gate_threshold));
  }
  const int half = std::min(bundle.smallest_tile.height, bundle.smallest_tile.width) / 2;
  bundle.tile_overlap = card.integer("dispatch.tile_overlap", 0, half);
  if (bundle.tile_overlap % bundle.align_y() || bundle.tile_overlap % bundle.align_x()) {
    card.wrong("dispatch.tile_overlap",
               text("a multiple of ", bundle.align_y(), " and ", bundle.align_x()),
               text(bundle.tile_overlap));
  }
  constexpr double kMinMm = 1e-3, kMaxMm = 1e3;
  bundle.output_min_mm = card.number("spacing_mm.output_min", kMinMm, kMaxMm);
  bundle.output_max_mm = card.number("spacing_mm.output_max", bundle.output_min_mm, kMaxMm);
  bundle.input_min_mm = card.number("spacing_mm.input_min", kMinMm, kMaxMm);
  bundle.input_max_mm = card.number("spacing_mm.input_max", bundle.input_min_mm, kMaxMm);
}

ModuleFile read_module(const BundleFields& card, const std::string& name, const std::string& key) {
  ModuleFile module{name, card.string(key + ".file"), card.string(key + ".sha256"), 0};
  module.bytes = static_cast<int64_t>(card.number(key + ".bytes", 1, 9e15));
  const fs::path relative(module.file);
  bool inside = !module.file.empty() && relative.is_relative() &&
                module.file.find_first_of("\\:") == std::string::npos;
  for (const auto& part : relative) inside = inside && part != "..";
  if (!inside) card.wrong(key + ".file", "a file inside the bundle", json_quote(module.file));
  if (module.sha256.size() != 64 ||
      module.sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    card.wrong(key + ".sha256", "64 lower-case hex digits", json_quote(module.sha256));
  }
  return module;
}

void verify_file(const fs::path& folder, const ModuleFile& module) {
  const fs::path path = folder / module.file;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    fail(ErrorKind::bundle, "load_bundle: expected the file ", module.file, " in ", folder.string(),
         ", found none; the bundle was probably copied in part; ", kCopyAgain);
  }
  const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
  if (error || bytes != module.bytes) {
    fail(ErrorKind::bundle, "load_bundle: expected ", module.bytes, " bytes, found ", bytes, " in ",
         path.string(), "; the copy was probably cut short; ", kCopyAgain);
  }
  std::string found;
  try {
    found = sha256_of_file(path);
  } catch (const std::exception& reason) {
    fail(ErrorKind::bundle, "load_bundle: expected a readable module, found ", reason.what(),
         "; probably missing permission; make the bundle readable");
  }
  if (found != module.sha256) {
    fail(ErrorKind::bundle, "load_bundle: expected SHA-256 ", module.sha256.substr(0, 16),
         "..., found ", found.substr(0, 16), "... in ", path.string(),
         "; the file is probably damaged or was replaced; ", kCopyAgain);
  }
}

}  // namespace

const ModuleFile& Bundle::module(const std::string& module_name) const {
  for (const ModuleFile& module : modules) {
    if (module.name == module_name) return module;
  }
  fail(ErrorKind::bundle, "bundle: expected a module named ", module_name, ", found none in ",
       path.string(), "; export the bundle again");
}

const ModuleFile* Bundle::int8_module(const std::string& module_name) const {
  for (const ModuleFile& module : int8_modules) {
    if (module.name == module_name) return &module;
  }
  return nullptr;
}

TileSize Bundle::gate_size(TileSize size) const {
  return {gate_height * size.height / tile_height, gate_width * size.width / tile_width};
}

Bundle Bundle::with_tile(TileSize size) const {
  Bundle other = *this;
  other.tile_height = size.height;
  other.tile_width = size.width;
  other.latent_height = latent_height * size.height / tile_height;
  other.latent_width = latent_width * size.width / tile_width;
  const TileSize gate = gate_size(size);
  other.gate_height = gate.height;
  other.gate_width = gate.width;
  return other;
}

Bundle load_bundle(const fs::path& path) {
  Bundle bundle;
  bundle.path = path;
  bundle.json = read_card(path);
  bundle.hash = sha256_hex(bundle.json);
  const std::string file = (path / "bundle.json").string();
  const Json document = parse_card(bundle.json, file);
  const BundleFields card(document, file);
  check_format(card);
  bundle.format_version = kBundleFormatVersion;
  bundle.name = card.string("name");
  read_sizes(card, bundle);
  read_schedule(card, bundle);
  read_settings(card, bundle);
  std::vector<std::string> names = {"encoder", "conditioner", "gate"};
  for (int i = 0; i < bundle.experts; ++i) names.push_back("expert_" + std::to_string(i));
  names.push_back("decoder");
  for (const std::string& name : names) {
    const std::string key = "modules." + name, int8 = key + ".int8";
    bundle.modules.push_back(read_module(card, name, key));
    if (card.has(int8)) bundle.int8_modules.push_back(read_module(card, name, int8));
  }
  for (const auto* files : {&bundle.modules, &bundle.int8_modules}) {
    for (const ModuleFile& file : *files) verify_file(path, file);
  }
  return bundle;
}

}  // namespace mdr
