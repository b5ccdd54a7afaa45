#include "core/tile_plan.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace mdr {

LatentShape latent_shape(const Bundle& bundle) {
  return {bundle.latent_channels, bundle.latent_height, bundle.latent_width};
}

StartScalars start_scalars(const TilePlan& plan) {
  return {static_cast<float>(std::sqrt(plan.start_alpha)),
          static_cast<float>(std::sqrt(1 - plan.start_alpha)), plan.seed};
}

GatedStepScalars step_scalars(const TilePlan& plan, int step) {
  const StepCoefficients& c = plan.coefficients[step];
  return {static_cast<float>(c.c_z),
          static_cast<float>(c.c_0),
          static_cast<float>(c.c_1),
          static_cast<float>(c.c_n),
          plan.seed,
          step + 1};
}

void check_image(const TilePlan& plan, const Tile& tile, const float* image) {
  const Bundle& bundle = plan.model->bundle();
  const int64_t pixels = int64_t{bundle.tile_height} * bundle.tile_width;
  if (std::all_of(image, image + pixels, [](float v) { return std::isfinite(v); })) return;
  fail(ErrorKind::engine, "enhance: expected finite voxels, found NaN or infinity in slice ",
       tile.z, " from ", bundle.name, " in ", plan.model->device().precision(),
       "; the input probably has voxels that are not finite, or the precision is too low; ",
       "clean the input or use precision fp32");
}

}  // namespace mdr
