#pragma once

#include <cstdint>
#include <vector>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr {

// The axes along which a volume runs backwards, as in a mirror.
struct Flip {
  bool z = false, y = false, x = false;
  bool any() const { return z || y || x; }
};

constexpr int kFlips = 4;

// How the volume is seen by a sample whose slices lie along axis `plane` of (z, y, x): the first
// one as it is, each of the first four with its slices mirrored in another way, the next four like
// these, and so on, as training mirrors them at random. It shows them in either order, too, but
// eight ways with that gained no more than four. Where results of mirrored slices differ the model
// is in doubt, and their average is better than each (Timofte et al. 2016).
Flip flip_of_sample(int number, int plane);

// In place; twice the same is the identity.
void flip_volume(Parallel& parallel, float* volume, const VolumeShape& shape, const Flip& flip);

// Each slice's box of a volume of this shape, for the flipped one.
std::vector<Box> flip_boxes(const std::vector<Box>& boxes, const VolumeShape& shape,
                            const Flip& flip);

}  // namespace mdr
