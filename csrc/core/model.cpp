#include "core/model.h"

#include <mutex>

#include "backends/gpu.h"
#include "core/error.h"
#include "core/gpu_types.h"
#include "core/load_model.h"
#include "core/parallel.h"

namespace mdr {
namespace {

std::string shape_text(const TensorInfo& info) {
  std::string out = info.name + " (N";
  for (const int64_t dim : info.dims) out += ", " + std::to_string(dim);
  return out + ")";
}

std::string shapes_text(const std::vector<TensorInfo>& tensors) {
  std::string out;
  for (const TensorInfo& info : tensors) out += (out.empty() ? "" : ", ") + shape_text(info);
  return out;
}

bool same(const std::vector<TensorInfo>& a, const std::vector<TensorInfo>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].dims != b[i].dims) return false;
  }
  return true;
}

void check(const Bundle& bundle, const Engine& engine, const char* what,
           const std::vector<TensorInfo>& expected, const std::vector<TensorInfo>& found) {
  if (same(expected, found)) return;
  fail(ErrorKind::bundle, "model: expected ", what, " ", shapes_text(expected), " of ",
       engine.report().module, ", found ", shapes_text(found), " in ", bundle.path.string(),
       "; bundle.json and the module are probably of different exports; export the bundle again");
}

}  // namespace

Model::Model(Bundle bundle, std::shared_ptr<Device> device, const OnEngine& on_engine)
    : bundle_(std::move(bundle)), device_(std::move(device)) {
  std::mutex telling;
  const auto load = [&](const std::string& name, const std::vector<TensorInfo>& inputs,
                        const std::vector<std::string>& outputs) {
    const ModuleFile* int8 = device_->takes_int8() ? bundle_.int8_module(name) : nullptr;
    const ModuleFile& file = int8 ? *int8 : bundle_.module(name);
    EngineSource source{name, (bundle_.path / file.file).string(), file.sha256, {}, outputs, {}};
    source.int8 = int8 != nullptr;
    for (const TensorInfo& input : inputs) {
      source.inputs.push_back(input.name);
      source.input_dims.push_back(input.dims);
    }
    auto engine = device_->load(source);
    if (on_engine) {
      const std::lock_guard<std::mutex> one_at_a_time(telling);
      on_engine(engine->report());
    }
    check(bundle_, *engine, "inputs", inputs, engine->inputs());
    return engine;
  };
  const auto check_outputs = [&](const Engine& engine, const std::vector<TensorInfo>& outputs) {
    check(bundle_, engine, "outputs", outputs, engine.outputs());
  };
  const Bundle& b = bundle_;
  const int64_t height = b.tile_height, width = b.tile_width;
  const TensorInfo slices{"slices", {b.tile_slices, height, width}};
  const std::vector<int64_t> latent = {b.latent_channels, b.latent_height, b.latent_width};
  const TensorInfo z_c{"z_c", {b.latent_height, b.latent_width, b.condition_channels}};

  std::vector<std::function<void()>> loads;
  loads.emplace_back([&] {
    encoder_ = load("encoder", {{"image", {3, height, width}}}, {"z"});
    check_outputs(*encoder_, {{"z", latent}});
  });
  loads.emplace_back([&] {
    conditioner_ = load("conditioner", {slices, {"z_low", latent}}, {"z_c", "tokens"});
    TensorInfo tokens = conditioner_->outputs().back();
    tokens.name = "tokens";
    token_elements_ = tokens.elements();
    check_outputs(*conditioner_, {z_c, tokens});
    gate_ = load("gate", {tokens}, {"gates"});
    check_outputs(*gate_, {{"gates", {b.experts, b.gate_height, b.gate_width}}});
  });
  experts_.resize(b.experts);
  for (int i = 0; i < b.experts; ++i) {
    loads.emplace_back([&, i] {
      experts_[i] = load(text("expert_", i), {{"z_t", latent}, z_c, {"t", {}}}, {"z0"});
      check_outputs(*experts_[i], {{"z0", latent}});
    });
  }
  loads.emplace_back([&] {
    decoder_ = load("decoder", {{"z0", latent}, slices}, {"image"});
    check_outputs(*decoder_, {{"image", {1, height, width}}});
  });
  Parallel(device_->loads_at_once())
      .ranges(static_cast<int64_t>(loads.size()), 1, [&](int64_t i, int64_t) { loads[i](); });
  if (dynamic_cast<const GpuDevice*>(device_.get())) check_gpu_types(*this);
}

std::shared_ptr<const Model> Model::fitted(TileSize size, const OnEngine& on_engine,
                                           const std::function<void()>& poll) const {
  if (size == bundle_.tile()) return {std::shared_ptr<const Model>(), this};
  const auto build = [&] {
    return load_model(
        bundle_.with_tile(size), [device = device_] { return device; }, on_engine, poll);
  };
  return fitted_.get(size, build, poll);
}

std::vector<std::shared_ptr<Engine>> Model::engines() const {
  std::vector<std::shared_ptr<Engine>> all = {encoder_, conditioner_, gate_};
  all.insert(all.end(), experts_.begin(), experts_.end());
  all.push_back(decoder_);
  return all;
}

std::vector<EngineReport> Model::reports() const {
  std::vector<EngineReport> out;
  for (const auto& engine : engines()) out.push_back(engine->report());
  return out;
}

}  // namespace mdr
