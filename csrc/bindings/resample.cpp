#include "core/resample.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

using Resample = void (*)(Parallel&, const float*, const VolumeShape&, float*, const VolumeShape&);

template <Resample resample>
py::array_t<float> resample_array(const py::object& volume, const SizeTriple& asked, int threads) {
  const auto voxels = checked_array<float>(volume, "resample", "volume", {-1, -1, -1});
  const VolumeShape shape = volume_shape(voxels, "resample");
  const VolumeShape to = asked_shape(asked, "resample");
  py::array_t<float> out = new_volume(to);
  const float* from = voxels.data();
  float* into = out.mutable_data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  resample(parallel, from, shape, into, to);
  return out;
}

}  // namespace

void bind_resample(py::module_& m) {
  m.def("interpolate", &resample_array<interpolate>, py::arg("volume"), py::arg("shape"),
        py::kw_only(), py::arg("threads") = 0,
        "Cubic B-spline towards finer voxels, k-space cut towards coarser ones.");
  m.def("resample_kspace", &resample_array<resample_kspace>, py::arg("volume"), py::arg("shape"),
        py::kw_only(), py::arg("threads") = 0,
        "K-space cut towards coarser voxels, filled with zeros towards finer ones.");
}

}  // namespace mdr::bindings
