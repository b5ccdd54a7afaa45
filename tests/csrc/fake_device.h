#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backends/backend.h"
#include "core/bundle.h"
#include "core/tiler.h"

// A device whose modules are small formulas per tile, each request on a thread of its own.
struct FakeSettings {
  int tiles_per_request = 1;
  int requests_in_flight = 3;
  std::string failing_module;   // its requests fail
  std::string refusing_module;  // its requests do not even start
  bool bfloat16 = false;        // what experts read and write is rounded to it
  int experts_meet = 1;         // an expert's request ends once so many of them are under way
  std::function<void()> on_load = [] {};  // called before a module is loaded
  int loads_at_once = 1;
  bool any_tile_size = false;
};

struct FakeCounts {
  std::atomic<int> under_way{0}, most{0}, requests{0}, largest_batch{0};
};

// Where threads wait for each other in groups; none waits for longer than ten seconds.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size) {}
  void attend() {
    std::unique_lock<std::mutex> lock(mutex_);
    const int group = arrived_++ / size_;
    changed_.notify_all();
    missed_ |= !changed_.wait_for(lock, std::chrono::seconds(10),
                                  [&] { return missed_ || arrived_ >= (group + 1) * size_; });
  }
  bool missed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return missed_;
  }

 private:
  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool missed_ = false;
};

inline mdr::Bundle fake_bundle() {
  mdr::Bundle bundle;
  bundle.name = "fake";
  bundle.tile_height = bundle.tile_width = 16;
  bundle.smallest_tile = bundle.tile_pitch = {8, 8};
  bundle.tile_slices = 3;
  bundle.latent_channels = 2;
  bundle.latent_height = bundle.latent_width = 4;
  bundle.condition_channels = 1;
  bundle.experts = 3;
  bundle.gate_height = bundle.gate_width = 2;
  for (int t = 0; t < 50; ++t) bundle.alphas_cumprod.push_back(0.99 * std::exp(-0.05 * t));
  bundle.sampler = {"dpmpp_2m", "low_field", 3, 30, 0};
  bundle.gate_threshold = 0.2;
  bundle.tile_overlap = 4;
  for (const char* name :
       {"encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder"}) {
    bundle.modules.push_back({name, std::string(name) + ".onnx", "", 1});
  }
  return bundle;
}

inline float to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// What a module of the fake bundle takes and gives, and its formula.
struct FakeModule {
  std::string name;
  std::vector<mdr::TensorInfo> inputs, outputs;

  explicit FakeModule(std::string module, mdr::TileSize tile = {16, 16}) : name(std::move(module)) {
    const int64_t h = tile.height, w = tile.width;
    const std::vector<int64_t> latent = {2, h / 4, w / 4};
    const mdr::TensorInfo slices{"slices", {3, h, w}}, z_c{"z_c", {h / 4, w / 4, 1}},
        tokens{"tokens", {h / 8, w / 8, 1}};
    if (name == "encoder") {
      inputs = {{"image", {3, h, w}}};
      outputs = {{"z", latent}};
    } else if (name == "conditioner") {
      inputs = {slices, {"z_low", latent}};
      outputs = {z_c, tokens};
    } else if (name == "gate") {
      inputs = {tokens};
      outputs = {{"gates", {3, h / 8, w / 8}}};
    } else if (name == "decoder") {
      inputs = {{"z0", latent}, slices};
      outputs = {{"image", {1, h, w}}};
    } else {
      inputs = {{"z_t", latent}, z_c, {"t", {}}};
      outputs = {{"z0", latent}};
    }
  }

  // The tile that a source's inputs are of.
  static mdr::TileSize tile_of(const mdr::EngineSource& source) {
    const auto& dims = source.input_dims[0];
    const int cell = source.module == "gate" ? 8 : source.inputs[0][0] == 'z' ? 4 : 1;
    const size_t rows = source.module == "gate" ? 0 : 1;
    return {static_cast<int>(dims[rows]) * cell, static_cast<int>(dims[rows + 1]) * cell};
  }

  bool expert() const { return name.rfind("expert_", 0) == 0; }
  // Which of its tensors are bfloat16 in a model of that precision: those that experts read or
  // write.
  bool low_input(size_t i) const { return expert() && i < 2; }
  bool low_output(size_t i) const { return expert() || (name == "conditioner" && i == 0); }

  // One tile: inputs and outputs are those of the tile.
  void run(const std::vector<const float*>& from, const std::vector<float*>& to) const {
    for (size_t o = 0; o < outputs.size(); ++o) {
      const int64_t size = outputs[o].elements();
      float* out = to[o];
      if (name == "gate") {
        // Which expert is left out depends on the tile.
        const int out_of_use = static_cast<int>(from[0][0] * 30) % 4;
        for (int i = 0; i < 3; ++i) {
          const float gate = out_of_use == 3 ? 1.0f / 3 : i == out_of_use ? 0.1f : 0.45f;
          std::fill_n(out + i * size / 3, size / 3, gate);
        }
        continue;
      }
      for (int64_t i = 0; i < size; ++i) {
        float sum = static_cast<float>(name.back() % 7);
        for (size_t k = 0; k < inputs.size(); ++k) {
          sum += from[k][(i * 5) % inputs[k].elements()] * static_cast<float>(k + 1);
        }
        out[i] = std::sin(sum) * 0.5f + 0.5f;
      }
    }
  }
};

constexpr mdr::VolumeShape kFakeShape{7, 40, 37};

inline std::vector<float> fake_volume() {
  std::vector<float> out(kFakeShape.voxels());
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(std::sin(0.37 * i) + 1);
  return out;
}

inline std::vector<mdr::Box> fake_boxes() {
  return std::vector<mdr::Box>(kFakeShape.nz, mdr::Box{2, 39, 1, 37});
}

class FakeEngine : public mdr::HostEngine {
 public:
  FakeEngine(FakeModule module, FakeSettings settings, std::shared_ptr<FakeCounts> counts,
             std::shared_ptr<Meeting> experts)
      : module_(std::move(module)),
        settings_(std::move(settings)),
        counts_(std::move(counts)),
        experts_(std::move(experts)) {
    report_.module = module_.name;
  }
  ~FakeEngine() override {
    for (std::thread& thread : threads_) thread.join();
  }

  const mdr::EngineReport& report() const override { return report_; }
  const std::vector<mdr::TensorInfo>& inputs() const override { return module_.inputs; }
  const std::vector<mdr::TensorInfo>& outputs() const override { return module_.outputs; }

  void submit(const void*, int batch, const std::vector<const float*>& inputs,
              const std::vector<float*>& outputs, Done done) override {
    if (report_.module == settings_.refusing_module) throw std::runtime_error("refused");
    const int now = ++counts_->under_way;
    raise(counts_->most, now);
    raise(counts_->largest_batch, batch);
    ++counts_->requests;
    const std::lock_guard<std::mutex> lock(mutex_);
    threads_.emplace_back([this, batch, inputs, outputs, done = std::move(done)] {
      for (int b = 0; b < batch; ++b) run(b, inputs, outputs);
      if (module_.expert()) experts_->attend();
      --counts_->under_way;
      const bool fails = report_.module == settings_.failing_module;
      done(fails ? std::make_exception_ptr(std::runtime_error("broken")) : nullptr);
    });
  }
  void cancel(const void*) override {}

 private:
  static void raise(std::atomic<int>& most, int value) {
    int seen = most;
    while (seen < value && !most.compare_exchange_weak(seen, value)) {
    }
  }

  void run(int b, const std::vector<const float*>& inputs, const std::vector<float*>& outputs) {
    std::vector<std::vector<float>> rounded;
    std::vector<const float*> from;
    std::vector<float*> to;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t size = module_.inputs[i].elements();
      rounded.emplace_back(inputs[i] + b * size, inputs[i] + (b + 1) * size);
      if (settings_.bfloat16 && module_.low_input(i)) {
        for (float& value : rounded.back()) value = to_bfloat16(value);
      }
    }
    for (const auto& input : rounded) from.push_back(input.data());
    for (size_t i = 0; i < outputs.size(); ++i) {
      to.push_back(outputs[i] + b * module_.outputs[i].elements());
    }
    module_.run(from, to);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!settings_.bfloat16 || !module_.low_output(i)) continue;
      for (int64_t k = 0; k < module_.outputs[i].elements(); ++k) to[i][k] = to_bfloat16(to[i][k]);
    }
  }

  const FakeModule module_;
  FakeSettings settings_;
  std::shared_ptr<FakeCounts> counts_;
  std::shared_ptr<Meeting> experts_;
  mdr::EngineReport report_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

class FakeDevice : public mdr::HostDevice {
 public:
  explicit FakeDevice(FakeSettings settings) : settings_(std::move(settings)) {}
  const std::string& backend() const override { return word_; }
  const std::string& name() const override { return word_; }
  const std::string& precision() const override { return word_; }
  int threads() const override { return 3; }
  bool any_tile_size() const override { return settings_.any_tile_size; }
  int requests_in_flight() const override { return settings_.requests_in_flight; }
  int loads_at_once() const override { return settings_.loads_at_once; }
  int tiles_per_request() const override { return settings_.tiles_per_request; }
  std::shared_ptr<mdr::Engine> load(const mdr::EngineSource& source) override {
    settings_.on_load();
    FakeModule module(source.module, FakeModule::tile_of(source));
    return std::make_shared<FakeEngine>(std::move(module), settings_, counts_, experts_);
  }
  const FakeCounts& counts() const { return *counts_; }
  bool experts_missed() const { return experts_->missed(); }

 private:
  FakeSettings settings_;
  std::string word_ = "fake";
  std::shared_ptr<FakeCounts> counts_ = std::make_shared<FakeCounts>();
  std::shared_ptr<Meeting> experts_ = std::make_shared<Meeting>(settings_.experts_meet);
};
