#include "bindings/volumes.h"

#include <cmath>

#include "backends/cpu_threads.h"
#include "bindings/observer.h"
#include "core/error.h"
#include "core/scan_checks.h"

namespace py = pybind11;

namespace mdr::bindings {

VolumeShape asked_shape(const SizeTriple& shape, const char* where) {
  const auto [nz, ny, nx] = shape;
  for (const int64_t size : {nz, ny, nx}) {
    if (size >= 1) continue;
    fail(ErrorKind::input, where, ": expected a volume with voxels, found shape (", nz, ", ", ny,
         ", ", nx, "); an empty scan, or axes mistaken? Give (nz, ny, nx)");
  }
  check_axes("the volume", {nz, ny, nx});
  return {static_cast<int>(nz), static_cast<int>(ny), static_cast<int>(nx)};
}

VolumeShape volume_shape(const py::array& array, const char* where) {
  return asked_shape({array.shape(0), array.shape(1), array.shape(2)}, where);
}

std::vector<std::tuple<int, int>> pairs_of(const std::vector<TileSize>& sizes) {
  std::vector<std::tuple<int, int>> pairs;
  for (const TileSize size : sizes) pairs.emplace_back(size.height, size.width);
  return pairs;
}

py::array_t<float> new_volume(const VolumeShape& shape) {
  return py::array_t<float>({shape.nz, shape.ny, shape.nx});
}

std::array<double, 3> checked_edges(const Triple& spacing, const char* where) {
  const auto [z, y, x] = spacing;
  for (const double edge : {z, y, x}) {
    if (std::isfinite(edge) && edge > 0) continue;
    fail(ErrorKind::input, where, ": expected voxel edges above zero in mm, found ", z, ", ", y,
         ", ", x, "; a unit was probably mistaken; give (z, y, x) in mm");
  }
  return {z, y, x};
}

Parallel parallel_of(int threads) { return Parallel(host_threads(threads), &check_signals); }

}  // namespace mdr::bindings
