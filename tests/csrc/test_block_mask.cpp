#include <algorithm>

#include "claim.h"
#include "core/block_mask.h"

using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

constexpr VolumeShape kShape{5, 6, 7};

int64_t at(int z, int y, int x) { return z * kShape.slice() + int64_t{y} * kShape.nx + x; }

BlockMask box(int z0, int z1, int y0, int y1, int x0, int x1) {
  BlockMask mask(kShape.voxels());
  for (int z = z0; z < z1; ++z) {
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) mask[at(z, y, x)] = 1;
    }
  }
  return mask;
}

const Claim specks("a piece goes when it is smaller than the share, and corners do not join", [] {
  const BlockMask large = box(1, 5, 1, 6, 1, 6);  // 100 cells
  BlockMask mask = large;
  mask[at(0, 0, 0)] = 1;  // touches the box in a corner alone
  BlockMask kept = mask;
  drop_specks(mask, kShape, 0.02);
  equal(mask == large, true);
  BlockMask before = kept;
  drop_specks(kept, kShape, 0.01);
  equal(kept == before, true);
  BlockMask nothing(kShape.voxels());
  drop_specks(nothing, kShape, 0.02);
  equal(std::count(nothing.begin(), nothing.end(), 1), 0L);
});

const Claim holes("a hole is filled, a bay open to a face is not", [] {
  BlockMask mask = box(0, 5, 0, 6, 0, 7);
  BlockMask whole = mask;
  mask[at(2, 3, 3)] = mask[at(2, 3, 4)] = 0;
  BlockMask bay = mask;
  fill_holes(mask, kShape);
  equal(mask == whole, true);
  bay[at(2, 3, 5)] = bay[at(2, 3, 6)] = 0;
  const BlockMask open = bay;
  fill_holes(bay, kShape);
  equal(bay == open, true);
});

const Claim grow("a mask grows by its own margin along each axis, and stops at the faces", [] {
  equal(grown(box(2, 3, 3, 4, 0, 1), kShape, {1, 0, 3}) == box(1, 4, 3, 4, 0, 4), true);
  equal(grown(box(2, 3, 3, 4, 3, 4), kShape, {9, 9, 9}) == box(0, 5, 0, 6, 0, 7), true);
  equal(grown(box(0, 0, 0, 0, 0, 0), kShape, {1, 1, 1}) == box(0, 0, 0, 0, 0, 0), true);
});

}  // namespace
