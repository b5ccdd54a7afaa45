#include "core/gpu_layout.h"

#include <algorithm>

#include "core/error.h"

namespace mdr {
namespace {

constexpr int64_t kBoundary = 256;  // bytes: what kernels and engines want their tensors on
constexpr int64_t kFloat = sizeof(float);

class Block {
 public:
  int64_t take(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ = (at + bytes + kBoundary - 1) / kBoundary * kBoundary;
    return at;
  }
  void back_to(int64_t at) { bytes_ = at; }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

const GpuEngine& on_gpu(const Engine& engine) { return static_cast<const GpuEngine&>(engine); }

int64_t input_bytes(const GpuEngine& engine, int i) {
  return engine.inputs()[i].elements() * bytes_of(engine.input_types()[i]);
}

int64_t output_bytes(const GpuEngine& engine, int i) {
  return engine.outputs()[i].elements() * bytes_of(engine.output_types()[i]);
}

// For any batch up to this one: each has kernels of its own, and a smaller one may need more.
int64_t scratch_bytes(const GpuEngine& engine, int batch) {
  int64_t most = 0;
  for (int b = 1; b <= batch; b *= 2) most = std::max(most, engine.scratch_bytes(b));
  return most;
}

}  // namespace

int batch_bucket(int tiles) {
  int bucket = 1;
  while (bucket < tiles) bucket *= 2;
  return bucket;
}

GpuLayout lay_out(const Model& model, int batch, int steps, bool gathered) {
  const Bundle& bundle = model.bundle();
  const GpuEngine& encoder = on_gpu(model.encoder());
  const GpuEngine& conditioner = on_gpu(model.conditioner());
  const GpuEngine& gate = on_gpu(model.gate());
  const GpuEngine& decoder = on_gpu(model.decoder());
  const int64_t latent = output_bytes(encoder, 0);
  const int64_t condition = output_bytes(conditioner, 0);

  GpuLayout layout;
  layout.batch = batch;
  Block block;
  for (int i = 0; i < kGpuLanes; ++i) {
    GpuLayout::Lane lane;
    lane.slices = block.take(batch * input_bytes(conditioner, 0));
    lane.z_low = block.take(batch * latent);
    lane.z_c = block.take(batch * condition);
    lane.gates = block.take(batch * output_bytes(gate, 0));
    lane.origins = block.take(batch * static_cast<int64_t>(sizeof(NoiseOrigin)));
    lane.slots = block.take(batch * bundle.experts * static_cast<int64_t>(sizeof(int)));
    lane.image = block.take(batch * output_bytes(decoder, 0));
    layout.lanes.push_back(lane);
  }
  layout.centre = block.take(batch * input_bytes(encoder, 0));
  layout.tokens = block.take(batch * output_bytes(conditioner, 1));
  layout.z = block.take(batch * latent);
  layout.z0 = block.take(batch * latent);
  const int64_t cells = kBoundary / kFloat;
  layout.timestep_stride = (batch + cells - 1) / cells * cells;
  layout.timesteps = block.take(layout.timestep_stride * steps * kFloat);
  layout.t = block.take(layout.timestep_stride * kFloat);
  const GpuEngine& first = on_gpu(model.expert(0));
  if (first.input_types()[0] != ExpertType::float32) {
    layout.expert_z = block.take(batch * input_bytes(first, 0));
  }
  for (int i = 0; i < bundle.experts; ++i) {
    GpuLayout::Expert part;
    part.z0 = block.take(batch * output_bytes(on_gpu(model.expert(i)), 0));
    if (gathered) {
      part.z_t = block.take(batch * input_bytes(on_gpu(model.expert(i)), 0));
      part.z_c = block.take(batch * condition);
    }
    layout.experts.push_back(part);
  }
  // Experts that run side by side need the sum of their scratch; nothing else runs beside another.
  const bool concurrent = static_cast<const GpuDevice&>(model.device()).concurrent();
  layout.scratch = block.bytes();
  int64_t end = layout.scratch;
  for (int i = 0; i < bundle.experts; ++i) {
    if (!concurrent) block.back_to(layout.scratch);
    layout.experts[i].scratch = block.take(scratch_bytes(on_gpu(model.expert(i)), batch));
    end = std::max(end, block.bytes());
  }
  for (const GpuEngine* alone : {&encoder, &conditioner, &gate, &decoder}) {
    block.back_to(layout.scratch);
    block.take(scratch_bytes(*alone, batch));
    end = std::max(end, block.bytes());
  }
  layout.bytes = end;
  return layout;
}

GpuLayout fit_layout(const Model& model, int tiles, int steps, bool gathered, int64_t limit) {
  const auto& device = static_cast<const GpuDevice&>(model.device());
  int batch = std::min(device.largest_batch(), batch_bucket(tiles));
  while (true) {
    const GpuLayout layout = lay_out(model, batch, steps, gathered);
    if (layout.bytes <= limit) return layout;
    if (batch == 1) {
      fail(ErrorKind::backend, "enhance: expected ", device.name(), " to have ",
           layout.bytes / 1000000 + 1, " MB for one tile of ", model.bundle().name, ", found ",
           limit / 1000000,
           " MB; other programs probably use it, or the memory limit is too low; free some, raise ",
           "the limit or use the openvino backend");
    }
    batch /= 2;
  }
}

}  // namespace mdr
