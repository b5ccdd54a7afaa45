#include "ops/blend.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/bindings.h"
#include "bindings/device_memory.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

void blend_add_on_device(std::tuple<int, int, int> shape, std::tuple<int, int> slice,
                         DeviceAddress images, DeviceAddress places, DeviceAddress sum,
                         DeviceAddress weight, DeviceAddress stream) {
  constexpr const char* kWhere = "blend_add_cuda";
  BlendDeviceBatch batch;
  BlendShape sizes;
  std::tie(batch.tiles, sizes.tile_height, sizes.tile_width) = shape;
  std::tie(sizes.ny, sizes.nx) = slice;
  for (const int size : {batch.tiles, sizes.tile_height, sizes.tile_width, sizes.ny, sizes.nx}) {
    check_size(kWhere, "shape", size);
  }
  check_address(kWhere, "images", images);
  check_address(kWhere, "places", places);
  check_address(kWhere, "sum", sum);
  check_address(kWhere, "weight", weight);
  batch.images = at<float>(images);
  batch.places = at<BlendTile>(places);
  batch.sum = at<float>(sum);
  batch.weight = at<float>(weight);
  blend_add_cuda(sizes, batch, at<void>(stream));
}

void blend_finish_on_device(DeviceAddress sum, DeviceAddress weight, DeviceAddress input,
                            int64_t count, DeviceAddress out, DeviceAddress stream) {
  constexpr const char* kWhere = "blend_finish_cuda";
  check_size(kWhere, "count", count);
  check_address(kWhere, "sum", sum);
  check_address(kWhere, "weight", weight);
  check_address(kWhere, "input", input);
  check_address(kWhere, "out", out);
  blend_finish_cuda(at<float>(sum), at<float>(weight), at<float>(input), count, at<float>(out),
                    at<void>(stream));
}

}  // namespace

void bind_blend(py::module_& m) {
  m.def("blend_add_cuda", &blend_add_on_device, py::kw_only(), py::arg("shape"),
        py::arg("slice_shape"), py::arg("images"), py::arg("places"), py::arg("sum"),
        py::arg("weight"), py::arg("stream") = DeviceAddress{0},
        "Adds a batch of tiles to the sums of their slices.");
  m.def("blend_finish_cuda", &blend_finish_on_device, py::kw_only(), py::arg("sum"),
        py::arg("weight"), py::arg("input"), py::arg("count"), py::arg("out"),
        py::arg("stream") = DeviceAddress{0}, "The blended voxels of finished sums.");
}

}  // namespace mdr::bindings
