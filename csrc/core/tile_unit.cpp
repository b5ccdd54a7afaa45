#include "core/tile_unit.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "ops/gated_step.h"
#include "ops/gather_rows.h"
#include "ops/start_latent.h"

namespace mdr {
namespace {

// A HostDevice loads HostEngines.
HostEngine* host(Engine& engine) { return static_cast<HostEngine*>(&engine); }

}  // namespace

TileUnit::TileUnit(const TilePlan& plan, int capacity)
    : plan_(plan),
      bundle_(plan.model->bundle()),
      image_size_(int64_t{bundle_.tile_height} * bundle_.tile_width),
      slices_size_(bundle_.tile_slices * image_size_),
      latent_size_(int64_t{bundle_.latent_channels} * bundle_.latent_height * bundle_.latent_width),
      condition_size_(int64_t{bundle_.condition_channels} * bundle_.latent_height *
                      bundle_.latent_width),
      token_size_(plan.model->token_elements()),
      gate_size_(int64_t{bundle_.experts} * bundle_.gate_height * bundle_.gate_width),
      slices_(capacity * slices_size_),
      centre_(capacity * kEncoderChannels * image_size_),
      z_(capacity * latent_size_),
      z_c_(capacity * condition_size_),
      tokens_(capacity * token_size_),
      gates_(capacity * gate_size_),
      z0_(capacity * latent_size_),
      timestep_(capacity),
      image_(capacity * image_size_) {
  for (int i = 0; i < bundle_.experts; ++i) {
    const int gathered = capacity > 1 ? capacity : 0;
    experts_.push_back({AlignedFloats(gathered * latent_size_),
                        AlignedFloats(gathered * condition_size_),
                        AlignedFloats(capacity * latent_size_)});
  }
}

void TileUnit::start(std::vector<Tile> tiles) {
  tiles_ = std::move(tiles);
  stage_ = Stage::read;
  step_ = 0;
  expert_calls_ = expert_calls_saved_ = 0;
}

std::vector<EngineCall> TileUnit::advance() {
  switch (stage_) {
    case Stage::read:
      stage_ = Stage::condition;
      return read();
    case Stage::condition:
      stage_ = Stage::gate;
      return call_conditioner();
    case Stage::gate:
      stage_ = Stage::plan;
      return call_gate();
    case Stage::plan:
      stage_ = Stage::step;
      plan_dispatch();
      start_latent();
      return call_experts();
    case Stage::step:
      step_latent();
      if (++step_ < static_cast<int>(plan_.coefficients.size())) return call_experts();
      stage_ = Stage::check;
      return call_decoder();
    case Stage::check:
      check_images();
      stage_ = Stage::done;
      return {};
    case Stage::done:
      break;
  }
  return {};
}

std::vector<EngineCall> TileUnit::read() {
  for (int b = 0; b < count(); ++b) {
    float* slices = slices_.data() + b * slices_size_;
    read_tile(plan_.volume, plan_.shape, tiles_[b], bundle_.tile_slices, slices);
    // The maps stay 0: none known.
    std::copy_n(slices + bundle_.tile_slices / 2 * image_size_, image_size_,
                centre_.data() + b * kEncoderChannels * image_size_);
  }
  return {{host(plan_.model->encoder()), "encoder", count(), {centre_.data()}, {z_.data()}}};
}

std::vector<EngineCall> TileUnit::call_conditioner() {
  return {{host(plan_.model->conditioner()),
           "conditioner",
           count(),
           {slices_.data(), z_.data()},
           {z_c_.data(), tokens_.data()}}};
}

std::vector<EngineCall> TileUnit::call_gate() {
  return {{host(plan_.model->gate()), "gate", count(), {tokens_.data()}, {gates_.data()}}};
}

void TileUnit::plan_dispatch() {
  const int steps = static_cast<int>(plan_.coefficients.size());
  const int cells = bundle_.gate_height * bundle_.gate_width;
  slots_.clear();
  batches_.assign(bundle_.experts, 0);
  for (int b = 0; b < count(); ++b) {
    const ExpertMask active =
        plan_tile(gates_.data() + b * gate_size_, bundle_.experts, cells, plan_.gate_threshold);
    for (int i = 0; i < bundle_.experts; ++i) {
      const bool runs = active >> i & 1;
      slots_.push_back(runs ? batches_[i]++ : -1);
      (runs ? expert_calls_ : expert_calls_saved_) += steps;
    }
  }
  gather(z_c_, condition_size_, &ExpertMemory::z_c);
}

void TileUnit::gather(const AlignedFloats& from, int64_t row,
                      AlignedFloats ExpertMemory::* memory) {
  float* to[kMaxExperts] = {};
  for (int i = 0; i < bundle_.experts; ++i) {
    if (batches_[i] < count()) to[i] = (experts_[i].*memory).data();
  }
  gather_rows_cpu(count(), bundle_.experts, slots_.data(), row, from.data(), to);
}

void TileUnit::start_latent() {
  const LatentShape shape = latent_shape(bundle_);
  const StartScalars scalars = start_scalars(plan_);
  for (int b = 0; b < count(); ++b) {
    float* z = z_.data() + b * latent_size_;
    start_latent_cpu(shape, scalars, origin(b), plan_.start_from_noise ? nullptr : z, z);
  }
}

std::vector<EngineCall> TileUnit::call_experts() {
  std::fill_n(timestep_.data(), count(), static_cast<float>(plan_.timesteps[step_]));
  gather(z_, latent_size_, &ExpertMemory::z_t);
  std::vector<EngineCall> calls;
  for (int i = 0; i < bundle_.experts; ++i) {
    if (batches_[i] == 0) continue;
    const ExpertMemory& memory = experts_[i];
    const bool all = batches_[i] == count();
    calls.push_back({host(plan_.model->expert(i)),
                     "experts",
                     batches_[i],
                     {all ? z_.data() : memory.z_t.data(), all ? z_c_.data() : memory.z_c.data(),
                      timestep_.data()},
                     {memory.z0.data()}});
  }
  return calls;
}

void TileUnit::step_latent() {
  const GatedStepScalars scalars = step_scalars(plan_, step_);
  for (int b = 0; b < count(); ++b) {
    const float* outputs[kMaxExperts];
    const float* gates[kMaxExperts];
    int active = 0;
    for (int i = 0; i < bundle_.experts; ++i) {
      const int slot = slots_[b * bundle_.experts + i];
      if (slot < 0) continue;
      outputs[active] = experts_[i].z0.data() + slot * latent_size_;
      gates[active++] = this->gates(b) + int64_t{i} * bundle_.gate_height * bundle_.gate_width;
    }
    float* z = z_.data() + b * latent_size_;
    float* z0 = z0_.data() + b * latent_size_;
    const GatedStepShape shape{bundle_.latent_channels, bundle_.latent_height,
                               bundle_.latent_width,    active,
                               bundle_.gate_height,     bundle_.gate_width};
    gated_step_cpu(shape, scalars, origin(b), z, outputs, gates, z0, z, z0);
  }
}

std::vector<EngineCall> TileUnit::call_decoder() {
  return {{host(plan_.model->decoder()),
           "decoder",
           count(),
           {z0_.data(), slices_.data()},
           {image_.data()}}};
}

void TileUnit::check_images() const {
  for (int b = 0; b < count(); ++b) check_image(plan_, tiles_[b], image(b));
}

}  // namespace mdr
