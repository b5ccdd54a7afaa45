#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <tuple>
#include <vector>

#include "core/parallel.h"
#include "core/tiler.h"

namespace mdr::bindings {

using Triple = std::tuple<double, double, double>;
using SizeTriple = std::tuple<int64_t, int64_t, int64_t>;

// Shape of a 3-D array (nz, ny, nx). Throws Error(ErrorKind::input) that names `where` for an axis
// that no volume has.
VolumeShape volume_shape(const pybind11::array& array, const char* where);

// A shape that a caller asks for; refused like the above.
VolumeShape asked_shape(const SizeTriple& shape, const char* where);

// (height, width) of each.
std::vector<std::tuple<int, int>> pairs_of(const std::vector<TileSize>& sizes);

pybind11::array_t<float> new_volume(const VolumeShape& shape);

// (z, y, x) voxel edges; throws Error(ErrorKind::input) unless finite and above zero.
std::array<double, 3> checked_edges(const Triple& spacing, const char* where);

// Threads for a loop outside a model, 0: every core that this process may use. Sees Ctrl-C.
Parallel parallel_of(int threads);

}  // namespace mdr::bindings
