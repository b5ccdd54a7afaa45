#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "core/bundle.h"
#include "core/tiler.h"

namespace mdr {

// Puts tiles back into a volume. Tiles come in the order of list_tiles(), so only one slice's
// weights are held, and the sums do not depend on which tile was ready first.
//
// The output may be the input: a finished slice is kept aside until the caller says that no tile
// is left that reads it.
class SliceBlend {
 public:
  // Slices without tiles are copied here already. `gates` may be null.
  SliceBlend(const Bundle& bundle, const float* volume, const VolumeShape& shape,
             const std::vector<Tile>& tiles, float* out, uint8_t* gates);

  // `image` (height, width), `gates` (experts, gate_height, gate_width) of the next tile, of its
  // size.
  void add(const Tile& tile, const float* image, const float* gates);
  // The tiles whose slices were not read yet all lie on slice z or after it.
  void read_before(int z);
  // All tiles were added.
  void finish();

 private:
  struct Slice {
    int z;
    std::vector<float> voxels;
  };

  void begin(int z);
  void add_gates(const Tile& tile, const float* gates, int rows, int columns);
  void end();
  void write(Slice slice);

  const Bundle& bundle_;
  const float* volume_;
  VolumeShape shape_;
  float* out_;
  uint8_t* gates_;
  int z_ = -1;
  std::vector<float> sums_, weight_, weight_y_, weight_x_, gate_sums_, gate_map_;
  std::deque<Slice> waiting_;              // finished, in order of z, while the input is needed
  std::vector<std::vector<float>> spare_;  // memory of written slices, used again
};

}  // namespace mdr
