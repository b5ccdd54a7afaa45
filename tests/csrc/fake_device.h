#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backends/backend.h"
#include "core/bundle.h"

// A device whose modules are small formulas per tile, each request on a thread of its own.
struct FakeSettings {
  int tiles_per_request = 1;
  int requests_in_flight = 3;
  std::string failing_module;   // its requests fail
  std::string refusing_module;  // its requests do not even start
  int experts_meet = 1;         // an expert's request ends once so many of them are under way
  std::function<void()> on_load = [] {};  // called before a module is loaded
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

class FakeEngine : public mdr::Engine {
 public:
  FakeEngine(std::string module, FakeSettings settings, std::shared_ptr<FakeCounts> counts,
             std::shared_ptr<Meeting> experts)
      : settings_(std::move(settings)), counts_(std::move(counts)), experts_(std::move(experts)) {
    report_.module = module;
    const mdr::TensorInfo slices{"slices", {3, 16, 16}}, z_c{"z_c", {1, 4, 4}},
        tokens{"tokens", {4, 1}};
    if (module == "encoder") {
      inputs_ = {{"image", {3, 16, 16}}};
      outputs_ = {{"z", {2, 4, 4}}};
    } else if (module == "conditioner") {
      inputs_ = {slices, {"z_low", {2, 4, 4}}};
      outputs_ = {z_c, tokens};
    } else if (module == "gate") {
      inputs_ = {tokens};
      outputs_ = {{"gates", {3, 2, 2}}};
    } else if (module == "decoder") {
      inputs_ = {{"z0", {2, 4, 4}}, slices};
      outputs_ = {{"image", {1, 16, 16}}};
    } else {
      inputs_ = {{"z_t", {2, 4, 4}}, z_c, {"t", {}}};
      outputs_ = {{"z0", {2, 4, 4}}};
    }
  }
  ~FakeEngine() override {
    for (std::thread& thread : threads_) thread.join();
  }

  const mdr::EngineReport& report() const override { return report_; }
  const std::vector<mdr::TensorInfo>& inputs() const override { return inputs_; }
  const std::vector<mdr::TensorInfo>& outputs() const override { return outputs_; }

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
      if (report_.module.rfind("expert_", 0) == 0) experts_->attend();
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
    for (size_t o = 0; o < outputs_.size(); ++o) {
      const int64_t size = outputs_[o].elements();
      float* out = outputs[o] + b * size;
      if (report_.module == "gate") {
        // Which expert is left out depends on the tile.
        const int out_of_use = static_cast<int>(inputs[0][b * 4] * 30) % 4;
        for (int i = 0; i < 3; ++i) {
          const float gate = out_of_use == 3 ? 1.0f / 3 : i == out_of_use ? 0.1f : 0.45f;
          for (int cell = 0; cell < 4; ++cell) out[i * 4 + cell] = gate;
        }
        continue;
      }
      for (int64_t i = 0; i < size; ++i) {
        float sum = static_cast<float>(report_.module.back() % 7);
        for (size_t k = 0; k < inputs_.size(); ++k) {
          const int64_t from = inputs_[k].elements();
          sum += inputs[k][b * from + (i * 5) % from] * static_cast<float>(k + 1);
        }
        out[i] = std::sin(sum) * 0.5f + 0.5f;
      }
    }
  }

  FakeSettings settings_;
  std::shared_ptr<FakeCounts> counts_;
  std::shared_ptr<Meeting> experts_;
  mdr::EngineReport report_;
  std::vector<mdr::TensorInfo> inputs_, outputs_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

class FakeDevice : public mdr::Device {
 public:
  explicit FakeDevice(FakeSettings settings) : settings_(std::move(settings)) {}
  const std::string& backend() const override { return word_; }
  const std::string& name() const override { return word_; }
  const std::string& precision() const override { return word_; }
  int threads() const override { return 3; }
  int requests_in_flight() const override { return settings_.requests_in_flight; }
  int tiles_per_request() const override { return settings_.tiles_per_request; }
  std::shared_ptr<mdr::Engine> load(const mdr::EngineSource& source) override {
    settings_.on_load();
    return std::make_shared<FakeEngine>(source.module, settings_, counts_, experts_);
  }
  const FakeCounts& counts() const { return *counts_; }
  bool experts_missed() const { return experts_->missed(); }

 private:
  FakeSettings settings_;
  std::string word_ = "fake";
  std::shared_ptr<FakeCounts> counts_ = std::make_shared<FakeCounts>();
  std::shared_ptr<Meeting> experts_ = std::make_shared<Meeting>(settings_.experts_meet);
};
