#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/enhance.h"
#include "core/foreground.h"
#include "core/parallel.h"

namespace mdr {

// A volume may be looked at as slices along z, y or x: axial, coronal and sagittal ones of a head
// near RAS+ axes. Plane p's slices lie along axis p of (z, y, x); seen so, the volume has that axis
// and the first one swapped. Results of several planes are averaged: what a model of slices gets
// wrong between slices of one plane it sees within those of another.

// Of a volume seen in a plane.
VolumeShape seen_in_plane(const VolumeShape& shape, int plane);

// The noise of one seed differs from plane to plane.
uint64_t plane_seed(uint64_t seed, int plane);

// The foreground of each slice of `output`, as enhance() takes them, for the planes from the first.
using PlaneBoxes = std::vector<std::vector<Box>>;
PlaneBoxes boxes_in_planes(const Foreground& foreground, const VolumeShape& output, int planes);

// As enhance(), in as many planes as there are boxes, averaged; `gates` are those of the first.
// Beside the results of one plane it holds one volume for each other. The report counts all planes;
// its tile is the first's.
EnhanceReport enhance_in_planes(const Model& model, Parallel& parallel, const float* volume,
                                const VolumeShape& shape, const PlaneBoxes& boxes,
                                const EnhanceOptions& options, float* out, uint8_t* gates,
                                const EnhanceObserver& observer);

}  // namespace mdr
