#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/enhance.h"
#include "core/flip.h"
#include "core/foreground.h"
#include "core/parallel.h"

namespace mdr {

// A volume may be enhanced as slices along z, y or x: axial, coronal or sagittal ones of a head
// near RAS+ axes. A plane is that axis, 0, 1 or 2 of (z, y, x); seen in it, the volume has the axis
// and the first one swapped. Results of several planes are averaged: what a model of slices gets
// wrong between slices of one plane it sees within those of another.

// The axis of the coarsest edge; of edges within 1 %, the first of (z, y, x).
int coarsest_axis(const std::array<double, 3>& spacing_mm);

// Whether the coarsest edge is so much larger than the finest that slices lie along it alone.
bool has_thick_slices(const std::array<double, 3>& spacing_mm);

// Of a volume seen in a plane.
VolumeShape seen_in_plane(const VolumeShape& shape, int plane);

// The planes that a scan is enhanced in, the first one's gates being told. `asked` is their number,
// or 0 for that of the bundle. Slices lie along the coarsest axis first, since the model was
// trained so; of a scan whose edges differ, along that alone unless asked otherwise. A slab seen
// from the side is mostly tile beyond its edges, slow and with little to see: planes whose slices
// in the output are less than half a tile high or wide come last, and only when asked for.
std::vector<int> choose_planes(const Bundle& bundle, const std::array<double, 3>& spacing_mm,
                               const VolumeShape& output, int asked);

// The noise of one seed differs from plane to plane.
uint64_t plane_seed(uint64_t seed, int plane);

// The foreground of each slice in a plane of `output`, as enhance() takes it.
std::vector<Box> boxes_in_plane(const Foreground& foreground, const VolumeShape& output, int plane);

// The same for each of the planes of a volume that is flipped against what the foreground was found
// in.
std::vector<std::vector<Box>> boxes_in_planes(const Foreground& foreground,
                                              const VolumeShape& output, const Flip& flip,
                                              const std::vector<int>& planes);

// How many tiles enhance_in_planes() takes.
int count_tiles_in_planes(const Model& model, const VolumeShape& shape,
                          const std::vector<int>& planes,
                          const std::vector<std::vector<Box>>& boxes);

// As enhance(), in each of the planes, each with its boxes, averaged; `gates` are those of the
// first. Beside the result it holds a volume for each plane but the axial one. The report counts
// all planes; its tile sizes are the first's.
EnhanceReport enhance_in_planes(const Model& model, Parallel& parallel, const float* volume,
                                const VolumeShape& shape, const std::vector<int>& planes,
                                const std::vector<std::vector<Box>>& boxes,
                                const EnhanceOptions& options, float* out, uint8_t* gates,
                                const EnhanceObserver& observer);

}  // namespace mdr
