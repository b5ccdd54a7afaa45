#include "stand_in_engine.h"

#include <cstring>
#include <memory>
#include <utility>

#include "capi/engine.h"
#include "capi/params.h"
#include "host_gpu_device.h"
#include "pooled_device.h"

namespace {

mdr::Bundle scannable_bundle() {
  mdr::Bundle bundle = fake_bundle();
  bundle.hash = "fake-hash";
  bundle.percentile = 99.5;
  bundle.intensity_value = 1;
  bundle.input_min_mm = 0.5;
  bundle.input_max_mm = 5;
  bundle.output_min_mm = 0.5;
  bundle.output_max_mm = 1.25;
  return bundle;
}

mdr_engine* engine_on(std::shared_ptr<mdr::Device> device, const mdr_engine_params* params) {
  const mdr_engine_params asked = mdr::capi::taken("stand_in_engine", params);
  auto model = std::make_shared<const mdr::Model>(scannable_bundle(), std::move(device),
                                                  mdr::Model::OnEngine());
  return mdr::capi::make_engine(std::move(model), static_cast<int64_t>(asked.memory_limit),
                                {asked.log, asked.log_level, asked.user_data});
}

HostGpu& gpu_of(mdr_engine* engine) {
  return static_cast<const HostGpuDevice&>(engine->loaded->model->device()).gpu();
}

}  // namespace

extern "C" {

mdr_engine* stand_in_engine(const mdr_engine_params* params) {
  return engine_on(std::make_shared<PooledDevice>(), params);
}

mdr_engine* stand_in_broken_engine(const mdr_engine_params* params) {
  return engine_on(std::make_shared<PooledDevice>("decoder"), params);
}

mdr_engine* stand_in_gpu_engine(void) {
  return engine_on(std::make_shared<HostGpuDevice>(HostGpuSettings{}), nullptr);
}

int stand_in_gpu_in_use(void) { return HostGpu::in_use(); }

void* stand_in_stream(mdr_engine* engine) {
  const mdr::GpuUse use(gpu_of(engine));
  return gpu_of(engine).make_stream(false);
}

float* stand_in_upload(mdr_engine* engine, const float* host, size_t count, void* stream) {
  HostGpu& gpu = gpu_of(engine);
  const mdr::GpuUse use(gpu);
  const auto bytes = static_cast<int64_t>(count * sizeof(float));
  auto* device = static_cast<float*>(gpu.allocate(bytes));
  void* pinned = gpu.allocate_pinned(bytes);
  std::memcpy(pinned, host, bytes);
  // Only queued: the engine must read after it.
  gpu.upload(device, pinned, bytes, stream);
  gpu.work(stream, [&gpu, pinned] { gpu.free_pinned(pinned); });
  return device;
}

void stand_in_download(mdr_engine* engine, float* host, const float* device, size_t count,
                       void* stream) {
  HostGpu& gpu = gpu_of(engine);
  const mdr::GpuUse use(gpu);
  const auto bytes = static_cast<int64_t>(count * sizeof(float));
  void* pinned = gpu.allocate_pinned(bytes);
  gpu.download(pinned, device, bytes, stream);
  gpu.drain(stream);
  std::memcpy(host, pinned, bytes);
  gpu.free_pinned(pinned);
}

void stand_in_give_back(mdr_engine* engine, float* device) {
  const mdr::GpuUse use(gpu_of(engine));
  gpu_of(engine).free(device);
}

int stand_in_live(mdr_engine* engine) { return gpu_of(engine).live(); }

void stand_in_end_stream(mdr_engine* engine, void* stream) {
  const mdr::GpuUse use(gpu_of(engine));
  gpu_of(engine).destroy_stream(stream);
}

}  // extern "C"
