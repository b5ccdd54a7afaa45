#include "backends/tensorrt_cache.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "backends/engine_cache.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/sha256.h"

namespace mdr {
namespace {

namespace fs = std::filesystem;

std::string in_words(const GpuIdentity& gpu) { return gpu.name + " (" + gpu.target() + ")"; }

// `device`: "sm86+sm89", or one GPU as in_words() has it.
bool is_for(const std::string& device, const GpuIdentity& gpu) {
  return device == in_words(gpu) ||
         ("+" + device + "+").find("+" + gpu.target() + "+") != std::string::npos;
}

bool is_of_this_graph(const std::string& profile) {
  const std::string end = text("-g", kTensorRTGraphVersion);
  return profile.size() > end.size() &&
         profile.compare(profile.size() - end.size(), end.size(), end) == 0;
}

// Of "10.7.0.23" some Python packages say "10.7.0".
bool is_release(const std::string& said, const std::string& whole) {
  return said == whole || (std::count(said.begin(), said.end(), '.') == 2 &&
                           whole.compare(0, said.size() + 1, said + ".") == 0);
}

// What of an entry does not fit, "" when all does.
std::string misfit(const EngineKey& found, const TensorRTWanted& wanted) {
  if (!is_for(found.device_name, wanted.gpu)) return "for " + found.device_name;
  if (!is_release(found.backend_version, wanted.version)) {
    return "by release " + found.backend_version;
  }
  return is_of_this_graph(found.profile) ? "" : "of another graph (" + found.profile + ")";
}

const Json& member(const Json& object, const char* name) {
  if (const Json* found = object.find(name)) return *found;
  throw JsonError(text("no ", name));
}

const Json::Array& list(const Json& object, const char* name) {
  if (const Json::Array* found = member(object, name).array()) return *found;
  throw JsonError(text(name, " that is no list"));
}

const std::string& word(const Json& object, const char* name) {
  if (const std::string* found = member(object, name).string()) return *found;
  throw JsonError(text(name, " that is no string"));
}

int64_t whole(const Json& value) {
  if (const double* found = value.number()) return static_cast<int64_t>(*found);
  throw JsonError("a size that is no number");
}

ExpertType type_of(const std::string& name) {
  if (name == "FLOAT") return ExpertType::float32;
  if (name == "HALF") return ExpertType::float16;
  if (name == "BF16") return ExpertType::bfloat16;
  throw JsonError("element type " + name);
}

std::vector<TensorRTTensor> tensors(const Json& details, const char* name) {
  std::vector<TensorRTTensor> out;
  for (const Json& tensor : list(details, name)) {
    TensorRTTensor found = {{word(tensor, "name"), {}}, type_of(word(tensor, "dtype"))};
    for (const Json& size : list(tensor, "shape")) found.info.dims.push_back(whole(size));
    out.push_back(std::move(found));
  }
  return out;
}

std::string why_unchecked(const Json& details, const GpuIdentity& gpu) {
  const Json* check = details.find("check");
  const Json* where = check ? check->find("gpu") : nullptr;
  if (where && where->string() && *where->string() == gpu.name) return "";
  return "not compared with float32 on this GPU; moediff-rt build-engines does so";
}

TensorRTEntry read_entry(EngineCache::Lookup found, const GpuIdentity& gpu) {
  const Json manifest = Json::parse(found.manifest);
  const Json& details = member(manifest, "details");
  TensorRTEntry entry;
  entry.blob = std::move(*found.blob);
  entry.device = word(manifest, "device_name");
  entry.unchecked = why_unchecked(details, gpu);
  for (const Json& batch : list(details, "batches")) {
    entry.batches.push_back(static_cast<int>(whole(batch)));
  }
  entry.inputs = tensors(details, "inputs");
  entry.outputs = tensors(details, "outputs");
  return entry;
}

bool is_of_these_tiles(const TensorRTEntry& entry, const TensorRTWanted& wanted) {
  for (const TensorInfo& input : wanted.inputs) {
    for (const TensorRTTensor& found : entry.inputs) {
      if (found.info.name == input.name && found.info.dims != input.dims) return false;
    }
  }
  return true;
}

}  // namespace

TensorRTEntry find_tensorrt_engine(const fs::path& folder, const TensorRTWanted& wanted) {
  const EngineCache cache(folder);
  const EngineKey like = {
      wanted.module, wanted.onnx_sha256, wanted.backend, "", "GPU", "", wanted.precision, ""};
  std::string instead;
  for (const EngineKey& key : cache.kept(like)) {
    std::string reason = misfit(key, wanted);
    if (reason.empty()) {
      EngineCache::Lookup found = cache.find(key);
      reason = found.reason;
      try {
        if (found.blob) {
          TensorRTEntry entry = read_entry(std::move(found), wanted.gpu);
          entry.path = cache.path(key).string();
          if (is_of_these_tiles(entry, wanted)) return entry;
          reason = "for tiles of another size";
        }
      } catch (const JsonError& error) {
        reason = text("damaged: its manifest has ", error.what());
      }
    }
    instead += text(instead.empty() ? "one " : ", one ", reason);
  }
  fail(ErrorKind::engine, wanted.backend, ": expected an engine of ", wanted.module, " in ",
       wanted.precision, " for ", in_words(wanted.gpu), " by release ", wanted.version, " in ",
       folder.string(), ", found ", instead.empty() ? "none" : instead,
       "; it was probably not built yet; build it with moediff-rt build-engines --backend ",
       wanted.backend, " --precision ", wanted.precision);
}

std::string kept_kernels(const fs::path& folder, const TensorRTWanted& wanted,
                         const std::string& device) {
  const std::string digest = sha256_hex(wanted.version + " " + device);
  try {
    return read_file(folder / text(wanted.backend, "-", digest.substr(0, 8), ".kernels"));
  } catch (const std::exception&) {  // they are compiled again
    return "";
  }
}

}  // namespace mdr
