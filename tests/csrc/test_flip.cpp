#include <numeric>
#include <set>
#include <vector>

#include "claim.h"
#include "core/flip.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

const std::vector<VolumeShape> kShapes = {{3, 4, 5}, {4, 5, 6}, {1, 70, 3}, {2, 1, 1}};

std::vector<float> numbered(const VolumeShape& shape) {
  std::vector<float> volume(shape.voxels());
  std::iota(volume.begin(), volume.end(), 0.0f);
  return volume;
}

const std::vector<Flip> kEveryFlip = {
    {false, false, false}, {true, false, false}, {false, true, false}, {false, false, true},
    {true, true, false},   {false, true, true},  {true, false, true},  {true, true, true}};

const Claim four("four samples see slices in four ways, the first as they are, then again", [] {
  for (int plane = 0; plane < 3; ++plane) {
    std::set<int> ways;
    for (int number = 0; number < kFlips; ++number) {
      const Flip flip = flip_of_sample(number, plane);
      const Flip again = flip_of_sample(number + kFlips, plane);
      ways.insert(4 * flip.z + 2 * flip.y + flip.x);
      equal(flip.any(), number > 0);
      check(flip.z == again.z && flip.y == again.y && flip.x == again.x, "another at ", number);
      const bool order = plane == 0 ? flip.z : plane == 1 ? flip.y : flip.x;
      check(!order, "the order of slices changed in plane ", plane);
    }
    equal(static_cast<int>(ways.size()), kFlips);
  }
});

const Claim mirrors("each voxel goes to its mirror image, on any number of threads", [] {
  for (const VolumeShape& shape : kShapes) {
    const std::vector<float> before = numbered(shape);
    for (const Flip& flip : kEveryFlip) {
      for (const int threads : {1, 3}) {
        Parallel parallel(threads);
        std::vector<float> found = before;
        flip_volume(parallel, found.data(), shape, flip);
        const float* voxel = found.data();
        for (int z = 0; z < shape.nz; ++z) {
          for (int y = 0; y < shape.ny; ++y) {
            for (int x = 0; x < shape.nx; ++x) {
              const int64_t from_z = flip.z ? shape.nz - 1 - z : z;
              const int64_t from_y = flip.y ? shape.ny - 1 - y : y;
              const int64_t from_x = flip.x ? shape.nx - 1 - x : x;
              equal(*voxel++, before[(from_z * shape.ny + from_y) * shape.nx + from_x]);
            }
          }
        }
        flip_volume(parallel, found.data(), shape, flip);
        check(found == before, "twice is not the identity");
      }
    }
  }
});

const Claim boxes("boxes go with their voxels, and empty ones stay empty", [] {
  const VolumeShape shape{2, 10, 20};
  const std::vector<Box> before = {{1, 4, 2, 9}, {}};
  const std::vector<Box> found = flip_boxes(before, shape, {true, true, true});
  check(found[0].empty() && !found[1].empty(), "the slices kept their order");
  equal(found[1].y0, 6);
  equal(found[1].y1, 9);
  equal(found[1].x0, 11);
  equal(found[1].x1, 18);
  const std::vector<Box> across = flip_boxes(before, shape, {false, false, true});
  equal(across[0].y0, 1);
  equal(across[0].y1, 4);
  equal(across[0].x0, 11);
  equal(across[0].x1, 18);
});

}  // namespace
