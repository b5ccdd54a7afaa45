#include "ops/gated_step.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/device_memory.h"
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
  check_experts(kWhere, experts.size());
  const int count = static_cast<int>(experts.size());
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
  const float* outputs[kMaxExperts];
  const float* maps[kMaxExperts];
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

void gated_step_on_device(std::tuple<int, int, int, int> shape, std::tuple<int, int> gate,
                          DeviceAddress z_t, const std::vector<DeviceAddress>& experts,
                          const std::string& type, DeviceAddress slots, DeviceAddress gates,
                          DeviceAddress z0_prev, DeviceAddress origins, float c_z, float c_0,
                          float c_1, float c_n, uint64_t seed, int noise_index, DeviceAddress z_s,
                          DeviceAddress z0, const std::vector<DeviceAddress>& expert_z,
                          DeviceAddress stream) {
  constexpr const char* kWhere = "gated_step_cuda";
  check_experts(kWhere, experts.size());
  GatedStepDeviceBatch batch;
  GatedStepShape sizes;
  std::tie(batch.tiles, sizes.channels, sizes.height, sizes.width) = shape;
  std::tie(sizes.gate_height, sizes.gate_width) = gate;
  sizes.experts = static_cast<int>(experts.size());
  for (const int size : {batch.tiles, sizes.channels, sizes.height, sizes.width, sizes.gate_height,
                         sizes.gate_width}) {
    check_size(kWhere, "shape", size);
  }
  check_address(kWhere, "z_t", z_t);
  check_address(kWhere, "slots", slots);
  check_address(kWhere, "gates", gates);
  check_address(kWhere, "z_s", z_s);
  check_address(kWhere, "z0", z0);
  if (c_1 != 0) check_address(kWhere, "z0_prev where c_1 is not 0", z0_prev);
  if (c_n != 0) check_address(kWhere, "origins where c_n is not 0", origins);
  batch.type = expert_type(kWhere, type);
  batch.z_t = at<float>(z_t);
  for (size_t i = 0; i < experts.size(); ++i) batch.experts[i] = at<void>(experts[i]);
  batch.slots = at<int>(slots);
  batch.gates = at<float>(gates);
  batch.z0_prev = at<float>(z0_prev);
  batch.origins = at<NoiseOrigin>(origins);
  batch.z_s = at<float>(z_s);
  batch.z0 = at<float>(z0);
  const auto next = expert_batches(kWhere, "expert_z", expert_z, experts.size());
  std::copy(next.begin(), next.end(), batch.expert_z);
  gated_step_cuda(sizes, {c_z, c_0, c_1, c_n, seed, noise_index}, batch, at<void>(stream));
}

}  // namespace

void bind_gated_step(py::module_& m) {
  m.def("gated_step", &gated_step, py::arg("z_t"), py::arg("experts"), py::arg("gates"),
        py::arg("z0_prev"), py::arg("c_z"), py::arg("c_0"), py::arg("c_1"), py::arg("c_n"),
        py::arg("seed"), py::arg("origin"), py::arg("noise_index"),
        "One denoising step of one tile on the CPU.");
  m.def("gated_step_cuda", &gated_step_on_device, py::kw_only(), py::arg("shape"), py::arg("gate"),
        py::arg("z_t"), py::arg("experts"), py::arg("expert_type"), py::arg("slots"),
        py::arg("gates"), py::arg("z0_prev"), py::arg("origins"), py::arg("c_z"), py::arg("c_0"),
        py::arg("c_1"), py::arg("c_n"), py::arg("seed"), py::arg("noise_index"), py::arg("z_s"),
        py::arg("z0"), py::arg("expert_z") = std::vector<DeviceAddress>{},
        py::arg("stream") = DeviceAddress{0}, "One denoising step of a batch on a CUDA device.");
}

}  // namespace mdr::bindings
