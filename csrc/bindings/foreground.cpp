#include "core/foreground.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"
#include "core/error.h"
#include "core/planes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

py::array_t<bool> mask_array(const Foreground::Mask& mask, const VolumeShape& shape) {
  py::array_t<bool> array({shape.nz, shape.ny, shape.nx});
  std::copy(mask.begin(), mask.end(), array.mutable_data());
  return array;
}

py::array_t<bool> on_voxels(const Foreground& found, const Foreground::Mask& mask) {
  const VolumeShape& shape = found.shape;
  py::array_t<bool> array({shape.nz, shape.ny, shape.nx});
  bool* to = array.mutable_data();
  std::fill_n(to, shape.voxels(), false);
  for (int64_t z = 0; z < shape.nz; ++z) {
    found.runs(mask, true, z, [&](int64_t y, int64_t x0, int64_t x1) {
      bool* row = to + z * shape.slice() + y * shape.nx;
      std::fill(row + x0, row + x1, true);
    });
  }
  return array;
}

py::array_t<int32_t> box_array(const Foreground& found, const SizeTriple& output, int plane) {
  if (plane < 0 || plane >= kMostPlanes) {
    fail(ErrorKind::input, "boxes: expected a plane from 0 to ", kMostPlanes - 1, ", found ", plane,
         "; probably a number of planes; give 0 for axial, 1 for coronal, 2 for sagittal slices");
  }
  const std::vector<Box> boxes = boxes_in_plane(found, asked_shape(output, "boxes"), plane);
  py::array_t<int32_t> array({static_cast<py::ssize_t>(boxes.size()), py::ssize_t{4}});
  int32_t* to = array.mutable_data();
  for (const Box& box : boxes) {
    for (const int edge : {box.y0, box.y1, box.x0, box.x1}) *to++ = edge;
  }
  return array;
}

Foreground find_in_array(const py::object& volume, const Triple& spacing, int threads) {
  const auto voxels = checked_array<float>(volume, "find_foreground", "volume", {-1, -1, -1});
  const VolumeShape shape = volume_shape(voxels, "find_foreground");
  const std::array<double, 3> edges = checked_edges(spacing, "find_foreground");
  const float* from = voxels.data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  return find_foreground(parallel, from, shape, edges);
}

}  // namespace

void bind_foreground(py::module_& m) {
  py::class_<Foreground>(m, "Foreground", "A mask over blocks of a scan's voxels.")
      .def_property_readonly("shape",
                             [](const Foreground& f) {
                               return std::tuple<int, int, int>(f.shape.nz, f.shape.ny, f.shape.nx);
                             })
      .def_property_readonly("block",
                             [](const Foreground& f) {
                               return std::tuple<int, int, int>(f.block[0], f.block[1], f.block[2]);
                             })
      .def_property_readonly("inside",
                             [](const Foreground& f) { return mask_array(f.inside, f.blocks); })
      .def_property_readonly("reach",
                             [](const Foreground& f) { return mask_array(f.reach, f.blocks); })
      .def("voxels", [](const Foreground& f) { return on_voxels(f, f.inside); })
      .def("reach_voxels", [](const Foreground& f) { return on_voxels(f, f.reach); })
      .def("boxes", &box_array, py::arg("output_shape"), py::arg("plane") = 0);
  m.def("find_foreground", &find_in_array, py::arg("volume"), py::arg("spacing"), py::kw_only(),
        py::arg("threads") = 0, "The head in a scan.");
}

}  // namespace mdr::bindings
