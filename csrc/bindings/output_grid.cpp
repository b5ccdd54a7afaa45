#include "core/output_grid.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/bindings.h"
#include "bindings/volumes.h"

namespace py = pybind11;

namespace mdr::bindings {

void bind_output_grid(py::module_& m) {
  m.def("check_output_spacing", &check_output_spacing, py::arg("bundle"), py::arg("output_spacing"),
        "Refuse an output voxel edge outside what the bundle was trained for.");
  m.def(
      "output_shape",
      [](const Bundle& bundle, const SizeTriple& shape, const Triple& spacing, double output) {
        const auto [z, y, x] = spacing;
        const VolumeShape found =
            output_shape(bundle, asked_shape(shape, "output_shape"), {z, y, x}, output);
        return std::tuple<int, int, int>(found.nz, found.ny, found.nx);
      },
      py::arg("bundle"), py::arg("shape"), py::arg("spacing"), py::arg("output_spacing") = 0.0,
      "Shape of the output over the box of a scan.");
}

}  // namespace mdr::bindings
