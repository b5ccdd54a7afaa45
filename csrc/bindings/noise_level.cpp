#include "core/noise_level.h"

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

double sigma_of_array(const py::object& volume, const Foreground& foreground, int threads) {
  const VolumeShape& shape = foreground.shape;
  const auto voxels =
      checked_array<float>(volume, "noise_sigma", "volume", {shape.nz, shape.ny, shape.nx});
  const float* from = voxels.data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  return noise_sigma(parallel, from, shape, foreground);
}

}  // namespace

void bind_noise_level(py::module_& m) {
  m.def("noise_sigma", &sigma_of_array, py::arg("volume"), py::arg("foreground"), py::kw_only(),
        py::arg("threads") = 0, "Noise standard deviation of a magnitude scan, inside the head.");
}

}  // namespace mdr::bindings
