#include "ops/noise.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

py::array_t<float> normal(uint64_t seed, int noise_index, std::tuple<int, int, int> origin,
                          std::tuple<int, int, int> shape) {
  const auto [channels, height, width] = shape;
  if (channels < 1 || height < 1 || width < 1) {
    fail(ErrorKind::input, "normal: expected a shape (C, h, w) of positive sizes, found (",
         channels, ", ", height, ", ", width, "); give the latent shape of a bundle");
  }
  py::array_t<float> out({channels, height, width});
  const NoiseOrigin at{std::get<0>(origin), std::get<1>(origin), std::get<2>(origin)};
  normal_cpu(seed, noise_index, at, channels, height, width, out.mutable_data());
  return out;
}

}  // namespace

void bind_noise(py::module_& m) {
  m.def("normal", &normal, py::arg("seed"), py::arg("noise_index"), py::arg("origin"),
        py::arg("shape"), "The counter-based noise of one tile.");
}

}  // namespace mdr::bindings
