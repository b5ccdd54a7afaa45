#include <cmath>
#include <vector>

#include "claim.h"
#include "core/slice_blend.h"
#include "ops/blend.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

Bundle bundle_of(int tile, int overlap) {
  Bundle bundle;
  bundle.tile_height = bundle.tile_width = tile;
  bundle.tile_overlap = overlap;
  bundle.experts = 2;
  bundle.gate_height = bundle.gate_width = 2;
  return bundle;
}

const Claim ramps("facing ramps sum to 1 where tiles overlap exactly", [] {
  for (int i = 0; i < 8; ++i) {
    const float left = ramp_weight(24 + i, 32, 8, true, true);
    const float right = ramp_weight(i, 32, 8, true, true);
    check(std::abs(left + right - 1) < 1e-6f, "at ", i);
  }
});

const Claim no_ramp("a tile has no ramp where the volume ends, nor without overlap", [] {
  equal(ramp_weight(0, 32, 8, false, true), 1.0f);
  equal(ramp_weight(31, 32, 8, true, false), 1.0f);
  equal(ramp_weight(0, 32, 0, true, true), 1.0f);
});

const Claim constant("tiles of one value blend to that value inside, the input elsewhere", [] {
  const Bundle bundle = bundle_of(16, 4);
  const VolumeShape shape{3, 40, 45};
  const std::vector<Box> boxes = {{}, {0, 40, 0, 45}, {}};
  const auto tiles = list_tiles(shape, boxes, {16, 16, 4, 4, 4});
  const std::vector<float> volume(shape.voxels(), 2.0f), image(256, 2.0f), gates(8, 0.5f);
  std::vector<float> out(shape.voxels());
  std::vector<uint8_t> saved(2 * shape.voxels());
  SliceBlend blend(bundle, volume.data(), shape, tiles, out.data(), saved.data());
  for (const Tile& tile : tiles) blend.add(tile, image.data(), gates.data());
  blend.finish();
  for (const float v : out) check(std::abs(v - 2) < 1e-6f, "found ", v);
  for (int64_t i = 0; i < 2 * shape.voxels(); ++i) {
    const bool inside = i % shape.voxels() / shape.slice() == 1;
    equal(static_cast<int>(saved[i]), inside ? 128 : 0);
  }
});

const Claim fills("where tiles weigh less than 1 the input fills up", [] {
  equal(blend_voxel(0.25f * 8, 0.25f, 4.0f), 5.0f);
  equal(blend_voxel(2.0f * 8, 2.0f, 4.0f), 8.0f);
  equal(blend_voxel(0.0f, 0.0f, 4.0f), 4.0f);
});

}  // namespace
