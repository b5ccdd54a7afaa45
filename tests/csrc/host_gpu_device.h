#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "backends/gpu.h"
#include "fake_device.h"
#include "host_gpu.h"

struct HostGpuSettings {
  uint32_t order = 0;  // seed of the order in which streams go on
  int largest_batch = 8;
  int64_t memory_limit = int64_t{1} << 30;
  bool captures = true;
  bool concurrent = true;
  bool bfloat16 = false;
  std::string odd_module;  // gives its first output in another type
  std::string failing_module;
  int failing_call = 0;  // its so-and-so-many-th call throws
};

// The fake bundle's modules on a HostGpu.
class HostGpuEngine : public mdr::GpuEngine {
 public:
  HostGpuEngine(HostGpu& gpu, const std::string& module, const HostGpuSettings& settings)
      : gpu_(gpu), module_(module), settings_(settings) {
    report_.module = module;
    const auto type = [&](bool low) {
      return settings.bfloat16 && low ? mdr::ExpertType::bfloat16 : mdr::ExpertType::float32;
    };
    for (size_t i = 0; i < module_.inputs.size(); ++i) {
      input_types_.push_back(type(module_.low_input(i)));
    }
    for (size_t i = 0; i < module_.outputs.size(); ++i) {
      output_types_.push_back(type(module_.low_output(i)));
    }
    if (module == settings.odd_module) output_types_[0] = mdr::ExpertType::float16;
  }

  const mdr::EngineReport& report() const override { return report_; }
  const std::vector<mdr::TensorInfo>& inputs() const override { return module_.inputs; }
  const std::vector<mdr::TensorInfo>& outputs() const override { return module_.outputs; }
  const std::vector<mdr::ExpertType>& input_types() const override { return input_types_; }
  const std::vector<mdr::ExpertType>& output_types() const override { return output_types_; }
  // The smallest batch needs the most.
  int64_t scratch_bytes(int batch) const override {
    return (batch == 1 ? settings_.largest_batch + 1 : batch) * kScratch;
  }

  void enqueue(int batch, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
               void* scratch, mdr::GpuStream stream) override {
    if (module_.name == settings_.failing_module && ++calls_ == settings_.failing_call) {
      throw std::runtime_error("broken");
    }
    if ((batch & (batch - 1)) || batch > settings_.largest_batch) {
      throw std::runtime_error("not a bucket");
    }
    for (const void* input : inputs) gpu_.check_aligned(input);
    for (const void* output : outputs) gpu_.check_aligned(output);
    if (gpu_.in_capture(stream)) {
      if (!prepared_.count({batch, inputs, outputs})) {
        throw std::runtime_error("first called so within a capture");
      }
    } else {
      prepared_.insert({batch, inputs, outputs});
    }
    // Another engine that works in the same scratch at the same time spoils the mark.
    auto* mark = static_cast<const void**>(scratch);
    gpu_.work(stream, [=] { std::fill_n(mark, batch, this); });
    gpu_.work(stream, [=] {
      for (int b = 0; b < batch; ++b) {
        if (mark[b] != this) continue;
        std::vector<std::vector<float>> from;
        std::vector<const float*> in;
        for (size_t i = 0; i < inputs.size(); ++i) {
          const int64_t size = module_.inputs[i].elements();
          from.push_back(HostGpu::read(input_types_[i], inputs[i], b * size, size));
        }
        for (const auto& input : from) in.push_back(input.data());
        std::vector<std::vector<float>> to;
        std::vector<float*> out;
        for (const mdr::TensorInfo& info : module_.outputs) to.emplace_back(info.elements());
        for (auto& output : to) out.push_back(output.data());
        // A tile that pads the batch holds what was there: its gates may be anything.
        if (module_.name == "gate" && !(in[0][0] >= 0 && in[0][0] < 10)) continue;
        module_.run(in, out);
        for (size_t i = 0; i < outputs.size(); ++i) {
          const int64_t size = module_.outputs[i].elements();
          HostGpu::write(output_types_[i], to[i].data(), outputs[i], b * size, size);
        }
      }
    });
  }

 private:
  static constexpr int64_t kScratch = sizeof(void*);
  HostGpu& gpu_;
  const FakeModule module_;
  const HostGpuSettings settings_;
  mdr::EngineReport report_;
  std::vector<mdr::ExpertType> input_types_, output_types_;
  std::set<std::tuple<int, std::vector<const void*>, std::vector<void*>>> prepared_;
  int calls_ = 0;
};

class HostGpuDevice : public mdr::GpuDevice {
 public:
  explicit HostGpuDevice(HostGpuSettings settings)
      : settings_(std::move(settings)), gpu_(settings_.order) {}
  const std::string& backend() const override { return word_; }
  const std::string& name() const override { return word_; }
  const std::string& precision() const override { return word_; }
  int threads() const override { return 1; }
  bool any_tile_size() const override { return false; }
  std::shared_ptr<mdr::Engine> load(const mdr::EngineSource& source) override {
    return std::make_shared<HostGpuEngine>(gpu_, source.module, settings_);
  }
  HostGpu& gpu() const override { return gpu_; }
  int largest_batch() const override { return settings_.largest_batch; }
  int64_t memory_limit() const override { return settings_.memory_limit; }
  bool captures() const override { return settings_.captures; }
  bool concurrent() const override { return settings_.concurrent; }

 private:
  const HostGpuSettings settings_;
  std::string word_ = "host gpu";
  mutable HostGpu gpu_;
};
