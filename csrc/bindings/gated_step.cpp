#include "ops/gated_step.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

using Floats = py::array_t<float>;

std::tuple<Floats, Floats> gated_step(const py::object& z_t, const std::vector<py::object>& experts,
                                      const py::object& gates, const py::object& z0_prev, float c_z,
                                      float c_0, float c_1, float c_n, uint64_t seed,
                                      std::tuple<int, int, int> origin, int noise_index) {
  constexpr const char* kWhere = "gated_step";
  const int count = static_cast<int>(experts.size());
  if (count < 1 || count > kGatedStepMaxExperts) {
    fail(ErrorKind::input, "gated_step: expected 1 to ", kGatedStepMaxExperts, " experts, found ",
         count, "; give one array per expert");
  }
  const Floats latent = checked_array<float>(z_t, kWhere, "z_t", {-1, -1, -1});
  const std::vector<int64_t> dims(latent.shape(), latent.shape() + 3);
  const Floats gate = checked_array<float>(gates, kWhere, "gates", {count, -1, -1});
  const GatedStepShape shape{static_cast<int>(dims[0]),       static_cast<int>(dims[1]),
                             static_cast<int>(dims[2]),       count,
                             static_cast<int>(gate.shape(1)), static_cast<int>(gate.shape(2))};
  if (latent.size() == 0 || gate.size() == 0) {
    fail(ErrorKind::input, "gated_step: expected z_t and gates with elements, found none; ",
         "the arrays are probably empty slices; give whole ones");
  }
  const float* outputs[kGatedStepMaxExperts];
  const float* maps[kGatedStepMaxExperts];
  for (int i = 0; i < count; ++i) {
    outputs[i] =
        checked_array<float>(experts[i], kWhere, "experts[" + std::to_string(i) + "]", dims).data();
    maps[i] = gate.data() + int64_t{i} * shape.gate_height * shape.gate_width;
  }
  const float* prev =
      z0_prev.is_none() ? nullptr : checked_array<float>(z0_prev, kWhere, "z0_prev", dims).data();
  if (!prev && c_1 != 0) {
    fail(ErrorKind::input, "gated_step: expected z0_prev where c_1 is not 0, found None and c_1 ",
         c_1, "; the first step has no previous z0; give c_1 = 0 or z0_prev");
  }
  const GatedStepScalars scalars{c_z, c_0, c_1, c_n, seed, noise_index};
  const NoiseOrigin at{std::get<0>(origin), std::get<1>(origin), std::get<2>(origin)};
  Floats z_s(dims), z0(dims);
  gated_step_cpu(shape, scalars, at, latent.data(), outputs, maps, prev, z_s.mutable_data(),
                 z0.mutable_data());
  return {z_s, z0};
}

}  // namespace

void bind_gated_step(py::module_& m) {
  m.def("gated_step", &gated_step, py::arg("z_t"), py::arg("experts"), py::arg("gates"),
        py::arg("z0_prev"), py::arg("c_z"), py::arg("c_0"), py::arg("c_1"), py::arg("c_n"),
        py::arg("seed"), py::arg("origin"), py::arg("noise_index"),
        "One denoising step of one tile on the CPU.");
}

}  // namespace mdr::bindings
