#pragma once

#include <cstdint>
#include <vector>

#include "core/model.h"
#include "core/sampler.h"
#include "core/tiler.h"
#include "ops/gated_step.h"
#include "ops/start_latent.h"

namespace mdr {

// What one enhance() call does with every tile of one size.
struct TilePlan {
  const Model* model = nullptr;
  const float* volume = nullptr;
  VolumeShape shape;
  uint64_t seed = 0;
  bool start_from_noise = false;
  double start_alpha = 1;  // cumulative alpha at the start timestep
  float gate_threshold = 0;
  std::vector<int> timesteps;
  std::vector<StepCoefficients> coefficients;
};

// Channels of the encoder's input: the image, its bias-field map and its gradient map.
constexpr int kEncoderChannels = 3;

LatentShape latent_shape(const Bundle& bundle);
StartScalars start_scalars(const TilePlan& plan);
GatedStepScalars step_scalars(const TilePlan& plan, int step);

// Where a tile's latent lies in the volume's.
inline NoiseOrigin noise_origin(const Bundle& bundle, const Tile& tile) {
  return {tile.x / bundle.align_x(), tile.y / bundle.align_y(), tile.z};
}

// Throws Error(ErrorKind::engine) unless every pixel of the tile's image is finite.
void check_image(const TilePlan& plan, const Tile& tile, const float* image);

}  // namespace mdr
