#include "core/prepare.h"

#include <pybind11/stl.h>

#include <utility>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"
#include "core/resample.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

struct PreparedArrays : Prepared {
  Voxels volume;
};

// A view that keeps `owner` alive.
py::array_t<float> view_of(const Voxels& voxels, const py::object& owner) {
  const VolumeShape& shape = voxels.shape();
  return py::array_t<float>({shape.nz, shape.ny, shape.nx}, voxels.data(), owner);
}

PreparedArrays prepare_array(const py::object& scan, const Triple& spacing,
                             const SizeTriple& output, double percentile, double value,
                             int threads) {
  const auto voxels = checked_array<float>(scan, "prepare", "scan", {-1, -1, -1});
  const VolumeShape shape = volume_shape(voxels, "prepare");
  const VolumeShape to = asked_shape(output, "prepare");
  const std::array<double, 3> edges = checked_edges(spacing, "prepare");
  const float* from = voxels.data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  Prepared ready = prepare(parallel, from, shape, edges, percentile, value);
  Voxels volume(to);
  interpolate(parallel, ready.measured.data(), shape, volume.data(), to);
  return {std::move(ready), std::move(volume)};
}

}  // namespace

void bind_prepare(py::module_& m) {
  py::class_<PreparedArrays>(m, "Prepared", "A scan ready for the model.")
      .def_property_readonly("measured",
                             [](const py::object& self) {
                               return view_of(self.cast<PreparedArrays&>().measured, self);
                             })
      .def_property_readonly(
          "volume",
          [](const py::object& self) { return view_of(self.cast<PreparedArrays&>().volume, self); })
      .def_property_readonly("boxes",
                             [](const py::object& self) {
                               const VolumeShape& shape =
                                   self.cast<PreparedArrays&>().volume.shape();
                               return self.attr("foreground")
                                   .attr("boxes")(py::make_tuple(shape.nz, shape.ny, shape.nx));
                             })
      .def_readonly("foreground", &PreparedArrays::foreground)
      .def_readonly("scale", &PreparedArrays::scale);
  m.def("prepare", &prepare_array, py::arg("scan"), py::arg("spacing"), py::arg("output_shape"),
        py::kw_only(), py::arg("percentile"), py::arg("value"), py::arg("threads") = 0,
        "Scale a scan's intensities and interpolate it on the output grid.");
}

}  // namespace mdr::bindings
