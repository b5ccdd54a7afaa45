#include <algorithm>
#include <chrono>
#include <cstring>
#include <openvino/op/parameter.hpp>
#include <openvino/op/relu.hpp>
#include <openvino/openvino.hpp>
#include <sstream>

#include "backends/cpu_precision.h"
#include "backends/cpu_threads.h"
#include "backends/engine_cache.h"
#include "backends/openvino_engine.h"
#include "backends/openvino_error.h"
#include "backends/registry.h"
#include "core/error.h"
#include "core/files.h"
#include "core/sha256.h"

namespace mdr {
namespace {

constexpr const char* kName = "openvino";
constexpr const char* kInt8 = "int8";

std::string version() { return ov::get_openvino_version().buildNumber; }

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// fp32 always; bf16, fp16 and int8 where the device computes them natively.
std::vector<std::string> precisions_of(ov::Core& core, const std::string& device) {
  const auto capabilities = core.get_property(device, ov::device::capabilities);
  std::vector<std::string> out = {"fp32"};
  if (contains(capabilities, ov::device::capability::BF16)) out.push_back("bf16");
  if (contains(capabilities, ov::device::capability::FP16)) out.push_back("fp16");
  if (device == "CPU" && has_int8_products()) out.push_back(kInt8);
  return out;
}

ov::element::Type element_of(const std::string& precision) {
  if (precision == "bf16") return ov::element::bf16;
  if (precision == "fp16") return ov::element::f16;
  return ov::element::f32;
}

std::string choose_device(ov::Core& core, const std::string& wanted) {
  if (wanted == "auto") return "CPU";
  const auto devices = core.get_available_devices();
  std::string upper = wanted;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  if (contains(devices, upper)) return upper;
  fail(ErrorKind::backend, "openvino: expected device auto or one of ", joined(devices), ", found ",
       wanted, "; the device or its driver is probably not there; give one of these");
}

void check_precision(ov::Core& core, const std::string& device, const DeviceRequest& request) {
  const std::string& wanted = request.precision;
  const auto known = precisions_of(core, device);
  if (wanted == kInt8 && contains(known, wanted) && !request.int8_there) {
    fail(ErrorKind::backend,
         "openvino: expected a bundle with 8-bit modules for precision int8, found one without; "
         "it was probably exported without --int8; give another precision");
  }
  if (wanted == "auto" || contains(known, wanted)) return;
  const bool real = wanted == "bf16" || wanted == "fp16" || wanted == kInt8;
  fail(ErrorKind::backend, "openvino: expected precision auto or one of ", joined(known),
       " on this ", device, ", found ", wanted, "; ",
       real ? "this processor has no instructions for it" : "probably mistyped",
       "; give one of these");
}

bool choose_int8(const std::string& device, const DeviceRequest& request) {
  if (request.precision == kInt8) return true;
  return request.precision == "auto" && request.int8_there && device == "CPU" && int8_is_faster();
}

// Of all that is not in 8 bits.
std::string choose_float(ov::Core& core, const std::string& device, const std::string& wanted) {
  if (wanted != "auto" && wanted != kInt8) return wanted;
  const bool low = contains(precisions_of(core, device), "bf16");
  return low && (device != "CPU" || bfloat16_is_faster()) ? "bf16" : "fp32";
}

// What the device calls itself, and for a CPU the instructions that OpenVINO compiles for, as many
// computers that are not alike have the same name: an engine for one is refused by the other. Only
// a compiled model tells them.
std::string full_name_of(ov::Core& core, const std::string& device) {
  const std::string name = core.get_property(device, ov::device::full_name);
  if (device != "CPU") return name;
  const auto any = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{1});
  const auto some = std::make_shared<ov::op::v0::Relu>(any);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{some}, ov::ParameterVector{any});
  const auto compiled = core.compile_model(model, device, ov::inference_num_threads(1));
  const auto told = compiled.get_property(ov::supported_properties);
  const bool tells = std::count(told.begin(), told.end(), ov::runtime_requirements.name()) > 0;
  if (!tells) return name;
  const std::string needs = compiled.get_property(ov::runtime_requirements);
  const size_t begin = needs.find("isa=");
  if (begin == std::string::npos) return name;
  return text(name, " (", needs.substr(begin + 4, needs.find(';', begin) - begin - 4), ")");
}

// The shapes that an engine is built for: "b1-5x256x256-4x128x128".
std::string profile_of(const EngineSource& source, int batch) {
  std::string profile = text("b", batch);
  for (const std::vector<int64_t>& dims : source.input_dims) {
    for (size_t i = 0; i < dims.size(); ++i) profile += text(i ? "x" : "-", dims[i]);
  }
  return profile;
}

// An input's shape with what it leaves free as the source has it: fixed sizes, as engines for any
// size are slower.
ov::PartialShape fixed(const ov::Output<ov::Node>& input, const EngineSource& source, int batch) {
  const auto named = [&](const std::string& name) { return input.get_names().count(name) > 0; };
  const auto found = std::find_if(source.inputs.begin(), source.inputs.end(), named);
  if (found == source.inputs.end()) {
    fail(ErrorKind::bundle, "engine: expected inputs ", joined(source.inputs), " of ",
         source.module, ", found ", input.get_any_name(), " in ", source.onnx_path,
         "; bundle.json and the module are probably of different exports; export the bundle again");
  }
  const std::vector<int64_t>& dims = source.input_dims[found - source.inputs.begin()];
  ov::PartialShape shape = input.get_partial_shape();
  shape[0] = batch;
  for (size_t axis = 0; axis < dims.size() && axis + 1 < shape.size(); ++axis) {
    if (shape[axis + 1].is_dynamic()) shape[axis + 1] = dims[axis];
  }
  return shape;
}

// Every request is one tile on one thread: as fast as one request over all threads, and the result
// cannot depend on the batch size or the number of threads. One request more than threads is under
// way, so that no thread waits for the next; not of a single thread, as each engine has its own,
// and two would be two cores' work.
class OpenvinoDevice : public HostDevice {
 public:
  explicit OpenvinoDevice(const DeviceRequest& request)
      : request_(request),
        name_(choose_device(core_, request.device)),
        int8_(choose_int8(name_, request)),
        float_precision_(choose_float(core_, name_, request.precision)),
        precision_(int8_ ? text(kInt8, "+", float_precision_) : float_precision_),
        full_name_(full_name_of(core_, name_)),
        threads_(host_threads(request.threads)) {
    check_precision(core_, name_, request);
  }

  const std::string& backend() const override { return backend_; }
  const std::string& name() const override { return name_; }
  const std::string& precision() const override { return precision_; }
  bool takes_int8() const override { return int8_; }
  int threads() const override { return threads_; }
  bool any_tile_size() const override { return true; }
  int requests_in_flight() const override { return threads_ > 1 ? threads_ + 1 : 1; }
  int tiles_per_request() const override { return 1; }
  int loads_at_once() const override { return threads_; }

  std::shared_ptr<Engine> load(const EngineSource& source) override {
    const std::string& precision = source.int8 ? precision_ : float_precision_;
    const EngineKey key{
        source.module, source.onnx_sha256, kName,     version(),
        name_,         full_name_,         precision, profile_of(source, tiles_per_request())};
    EngineReport report{source.module, kName, name_, precision, "", 0, 0, false, ""};
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    ov::CompiledModel model;
    if (!request_.engines_dir.empty()) {
      EngineCache::Lookup found = EngineCache(request_.engines_dir).find(key);
      report.reason = request_.force && found.blob ? "forced" : found.reason;
      if (found.blob && !request_.force && import(*found.blob, model, report)) {
        report.path = EngineCache(request_.engines_dir).path(key).string();
        report.seconds = seconds();
        return std::make_shared<OpenvinoEngine>(model, source, report);
      }
    } else {
      report.reason = "not kept: no engines folder was given";
    }
    model = compile(source);
    if (!request_.engines_dir.empty()) keep(key, model, seconds(), report);
    report.seconds = seconds();
    return std::make_shared<OpenvinoEngine>(model, source, report);
  }

 private:
  ov::AnyMap properties() const {
    ov::AnyMap map{ov::hint::inference_precision(element_of(float_precision_))};
    if (name_ == "CPU") {
      map.insert({ov::num_streams(threads_), ov::inference_num_threads(threads_),
                  ov::hint::enable_cpu_pinning(false)});
    }
    return map;
  }

  bool import(const std::string& blob, ov::CompiledModel& model, EngineReport& report) {
    try {
      ov::Tensor bytes(ov::element::u8, {blob.size()});
      std::memcpy(bytes.data(), blob.data(), blob.size());
      model = core_.import_model(bytes, name_, properties());
    } catch (const std::exception& error) {
      report.reason = "refused by openvino: " + one_line(error);
      return false;
    }
    report.cached = true;
    report.bytes = static_cast<int64_t>(blob.size());
    return true;
  }

  // The bytes that are compiled are the bytes whose SHA-256 names the engine, even when the file
  // was replaced since the bundle was loaded.
  static std::string verified(const EngineSource& source) {
    std::string bytes;
    try {
      bytes = read_file(source.onnx_path);
    } catch (const std::exception& error) {
      fail(ErrorKind::bundle, "engine: expected a readable module, found ", error.what(),
           "; the bundle was probably moved since it was loaded; load it again");
    }
    const std::string found = sha256_hex(bytes);
    if (found == source.onnx_sha256) return bytes;
    fail(ErrorKind::bundle, "engine: expected SHA-256 ", source.onnx_sha256.substr(0, 16),
         "..., found ", found.substr(0, 16), "... in ", source.onnx_path,
         "; the file was probably replaced since the bundle was loaded; load the bundle again");
  }

  ov::CompiledModel compile(const EngineSource& source) {
    const std::string bytes = verified(source);
    try {
      const auto onnx = core_.read_model(bytes, ov::Tensor());
      std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
      for (const auto& input : onnx->inputs()) {
        shapes[input] = fixed(input, source, tiles_per_request());
      }
      onnx->reshape(shapes);
      return core_.compile_model(onnx, name_, properties());
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw openvino_error(
          ErrorKind::engine, text("engine: expected OpenVINO to compile ", source.onnx_path), error,
          "the module probably uses an operator this release lacks; export the bundle again");
    }
  }

  void keep(const EngineKey& key, ov::CompiledModel& model, double seconds, EngineReport& report) {
    std::ostringstream blob;
    try {
      model.export_model(blob);
    } catch (const std::exception& error) {
      report.reason = "not kept: " + one_line(error);
      report.lost = true;
      return;
    }
    const std::string bytes = blob.str();
    const EngineCache cache(request_.engines_dir);
    const std::string failure = cache.store(key, bytes, seconds);
    if (failure.empty()) {
      report.bytes = static_cast<int64_t>(bytes.size());
      report.path = cache.path(key).string();
    } else {
      report.reason = failure;
      report.lost = true;
    }
  }

  ov::Core core_;
  DeviceRequest request_;
  std::string backend_ = kName;
  std::string name_;
  bool int8_;
  std::string float_precision_, precision_, full_name_;
  int threads_;
};

class OpenvinoBackend : public Backend {
 public:
  std::string name() const override { return kName; }
  BackendInfo info() const override {
    BackendInfo info{kName, false, "", version(), {}, {}};
    try {
      ov::Core core;
      info.devices = core.get_available_devices();
      info.precisions = precisions_of(core, "CPU");
      info.available = true;
    } catch (const std::exception& error) {
      info.reason = does_not_start(error).what();
    }
    return info;
  }

  std::shared_ptr<Device> open(const DeviceRequest& request) const override {
    try {
      return std::make_shared<OpenvinoDevice>(request);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw does_not_start(error);
    }
  }

 private:
  static Error does_not_start(const std::exception& error) {
    return openvino_error(ErrorKind::backend, "openvino: expected it to start", error,
                          "its package is probably damaged; install openvino again");
  }
};

}  // namespace

std::unique_ptr<Backend> make_openvino_backend() { return std::make_unique<OpenvinoBackend>(); }

}  // namespace mdr
