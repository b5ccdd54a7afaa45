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
    const float left = ramp_weight(24 + i, 32, {4, 8});
    const float right = ramp_weight(i, 32, {8, 4});
    check(std::abs(left + right - 1) < 1e-6f, "at ", i);
  }
});

const Claim no_ramp("an end without a ramp has the full weight", [] {
  equal(ramp_weight(0, 32, {0, 8}), 1.0f);
  equal(ramp_weight(31, 32, {8, 0}), 1.0f);
});

const Claim covered("inside the box of several tiles nothing of the input is left", [] {
  const VolumeShape shape{1, 80, 90};
  const Box box{6, 71, 8, 83};
  const Bundle bundle = bundle_of(32, 8);
  const auto tiles = list_tiles(shape, {box}, {TileSize{32, 32}}, {8, 4, 4});
  check(tiles.size() > 4, "too few tiles to have seams in both axes");
  const std::vector<float> volume(shape.voxels(), 0.0f), image(32 * 32, 1.0f);
  std::vector<float> out(shape.voxels());
  SliceBlend blend(bundle, volume.data(), shape, tiles, out.data(), nullptr);
  for (const Tile& tile : tiles) blend.add(tile, image.data(), nullptr);
  blend.finish();
  for (int y = box.y0 + kEdgeRamp; y < box.y1 - kEdgeRamp; ++y) {
    for (int x = box.x0 + kEdgeRamp; x < box.x1 - kEdgeRamp; ++x) {
      const float found = out[y * shape.nx + x];
      check(std::abs(found - 1) < 1e-6f, "found ", found, " at ", y, ", ", x);
    }
  }
});

const Claim constant("tiles of one value blend to that value inside, the input elsewhere", [] {
  const Bundle bundle = bundle_of(16, 4);
  const VolumeShape shape{3, 40, 45};
  const std::vector<Box> boxes = {{}, {0, 40, 0, 45}, {}};
  const std::vector<TileSize> sizes(3, {16, 16});
  const auto tiles = list_tiles(shape, boxes, sizes, {4, 4, 4});
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

const Claim sizes("tiles of two sizes blend, each with gates of its own size", [] {
  const Bundle bundle = bundle_of(16, 4);
  const VolumeShape shape{2, 16, 16};
  const std::vector<Box> boxes(2, {0, 16, 0, 16});
  const auto tiles = list_tiles(shape, boxes, {TileSize{16, 16}, TileSize{8, 16}}, {4, 4, 4});
  equal(tiles.size(), size_t{4});  // three of 8 x 16 overlap by 4
  const std::vector<float> volume(shape.voxels(), 0.0f), image(256, 2.0f);
  // Expert 1 counts in the right half alone, in a row of gates or in both.
  const std::vector<float> two_rows = {1, 0, 1, 0, 0, 1, 0, 1}, one_row = {1, 0, 0, 1};
  std::vector<float> out(shape.voxels());
  std::vector<uint8_t> saved(2 * shape.voxels());
  SliceBlend blend(bundle, volume.data(), shape, tiles, out.data(), saved.data());
  for (const Tile& tile : tiles) {
    const bool small = tile.size.height == 8;
    blend.add(tile, image.data(), small ? one_row.data() : two_rows.data());
  }
  blend.finish();
  for (const float v : out) check(std::abs(v - 2) < 1e-6f, "found ", v);
  for (int64_t v = 0; v < shape.slice(); ++v) {
    for (int expert = 0; expert < 2; ++expert) {
      const uint8_t* gates = saved.data() + expert * shape.voxels();
      equal(static_cast<int>(gates[v]), static_cast<int>(gates[v + shape.slice()]));
    }
  }
});

const Claim in_place("in the input's place a slice is written when no tile left reads it", [] {
  Bundle bundle = bundle_of(16, 4);
  bundle.tile_slices = 3;
  const VolumeShape shape{4, 16, 16};
  const std::vector<Box> boxes(4, {0, 16, 0, 16});
  const std::vector<TileSize> sizes(4, {16, 16});
  const auto tiles = list_tiles(shape, boxes, sizes, {4, 4, 4});
  equal(tiles.size(), size_t{4});
  std::vector<float> volume(shape.voxels(), 1.0f);
  const std::vector<float> image(256, 2.0f);
  SliceBlend blend(bundle, volume.data(), shape, tiles, volume.data(), nullptr);
  const auto middle = [&](int z) { return volume[z * shape.slice() + 8 * shape.nx + 8]; };
  blend.add(tiles[0], image.data(), nullptr);
  blend.add(tiles[1], image.data(), nullptr);
  blend.read_before(1);  // the tile of slice 1 still reads slice 0
  equal(middle(0), 1.0f);
  blend.read_before(2);
  equal(middle(0), 2.0f);
  equal(middle(1), 1.0f);
  blend.add(tiles[2], image.data(), nullptr);
  blend.add(tiles[3], image.data(), nullptr);
  blend.finish();
  for (int z = 0; z < 4; ++z) equal(middle(z), 2.0f);
});

const Claim fills("where tiles weigh less than 1 the input fills up", [] {
  equal(blend_voxel(0.25f * 8, 0.25f, 4.0f), 5.0f);
  equal(blend_voxel(2.0f * 8, 2.0f, 4.0f), 8.0f);
  equal(blend_voxel(0.0f, 0.0f, 4.0f), 4.0f);
});

}  // namespace
