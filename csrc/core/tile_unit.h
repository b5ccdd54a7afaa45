#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned_floats.h"
#include "core/dispatch.h"
#include "core/tile_plan.h"

namespace mdr {

struct EngineCall {
  HostEngine* engine = nullptr;
  const char* stage = "";
  int batch = 0;
  std::vector<const float*> inputs;
  std::vector<float*> outputs;
};

// A few tiles on their way from slices to image, with the memory they need. Between two advance()
// calls the engine calls that the first returned must be done.
class TileUnit {
 public:
  TileUnit(const TilePlan& plan, int capacity);

  void start(std::vector<Tile> tiles);
  // Does the work between two rounds of engine calls; none are returned when the image is there.
  std::vector<EngineCall> advance();

  const std::vector<Tile>& tiles() const { return tiles_; }
  const float* image(int tile) const { return image_.data() + tile * image_size_; }
  // The gates applied to the tile, (experts, gate_height, gate_width).
  const float* gates(int tile) const { return gates_.data() + tile * gate_size_; }
  int64_t expert_calls() const { return expert_calls_; }
  int64_t expert_calls_saved() const { return expert_calls_saved_; }

 private:
  enum class Stage { read, condition, gate, plan, step, check, done };
  struct ExpertMemory {
    AlignedFloats z_t, z_c, z0;  // z_t and z_c hold gathered rows when some tiles are skipped
  };

  std::vector<EngineCall> read();
  std::vector<EngineCall> call_conditioner();
  std::vector<EngineCall> call_gate();
  void plan_dispatch();
  // Rows of `from` into `memory` of each expert that does not run for every tile.
  void gather(const AlignedFloats& from, int64_t row, AlignedFloats ExpertMemory::* memory);
  void start_latent();
  std::vector<EngineCall> call_experts();
  void step_latent();
  std::vector<EngineCall> call_decoder();
  void check_images() const;
  NoiseOrigin origin(int tile) const { return noise_origin(bundle_, tiles_[tile]); }
  int count() const { return static_cast<int>(tiles_.size()); }

  const TilePlan& plan_;
  const Bundle& bundle_;
  int64_t image_size_, slices_size_, latent_size_, condition_size_, token_size_, gate_size_;
  Stage stage_ = Stage::read;
  int step_ = 0;
  std::vector<Tile> tiles_;
  // slots_: where each expert's batch has each tile (ops/gather_rows.h); batches_: their sizes.
  std::vector<int> slots_, batches_;
  // z_: the low-field latent that the conditioner reads, then, from start_latent() on, the state.
  AlignedFloats slices_, centre_, z_, z_c_, tokens_, gates_, z0_, timestep_, image_;
  std::vector<ExpertMemory> experts_;
  int64_t expert_calls_ = 0, expert_calls_saved_ = 0;
};

}  // namespace mdr
