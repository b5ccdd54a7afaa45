#pragma once

#include <cstdint>
#include <vector>

#include "core/bundle.h"
#include "core/tiler.h"

namespace mdr {

// Puts tiles back into a volume. Tiles come in the order of list_tiles(), so only one slice's
// weights are held, and the sums do not depend on which tile was ready first.
class SliceBlend {
 public:
  // Slices without tiles are copied here already. `gates` may be null.
  SliceBlend(const Bundle& bundle, const float* volume, const VolumeShape& shape,
             const std::vector<Tile>& tiles, float* out, uint8_t* gates);

  // `image` (height, width), `gates` (experts, gate_height, gate_width) of the next tile.
  void add(const Tile& tile, const float* image, const float* gates);
  void finish();

 private:
  void begin(int z);
  void add_gates(const Tile& tile, const float* gates, int rows, int columns);

  const Bundle& bundle_;
  const float* volume_;
  VolumeShape shape_;
  float* out_;
  uint8_t* gates_;
  int z_ = -1;
  std::vector<float> weight_, weight_y_, weight_x_, gate_sums_, gate_map_;
};

}  // namespace mdr
