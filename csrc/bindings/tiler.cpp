#include "core/tiler.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace mdr::bindings {

void bind_tiler(py::module_& m) {
  m.def("tile_starts", &tile_starts, py::arg("n"), py::arg("lo"), py::arg("hi"), py::arg("tile"),
        py::arg("overlap"), py::arg("align"), "Tile starts that cover [lo, hi) of an axis.");
}

}  // namespace mdr::bindings
