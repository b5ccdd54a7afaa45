#include "ops/start_latent.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/device_memory.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

py::array_t<float> start_latent(const py::object& z_low, std::tuple<int, int, int> shape,
                                float signal, float spread, uint64_t seed,
                                std::tuple<int, int, int> origin) {
  constexpr const char* kWhere = "start_latent";
  LatentShape sizes;
  std::tie(sizes.channels, sizes.height, sizes.width) = shape;
  const std::vector<int64_t> dims{sizes.channels, sizes.height, sizes.width};
  for (const int64_t size : dims) check_size(kWhere, "shape", size);
  const float* from =
      z_low.is_none() ? nullptr : checked_array<float>(z_low, kWhere, "z_low", dims).data();
  const NoiseOrigin at{std::get<0>(origin), std::get<1>(origin), std::get<2>(origin)};
  py::array_t<float> z(dims);
  start_latent_cpu(sizes, {signal, spread, seed}, at, from, z.mutable_data());
  return z;
}

void start_latent_on_device(std::tuple<int, int, int, int> shape, DeviceAddress z_low, float signal,
                            float spread, uint64_t seed, DeviceAddress origins, DeviceAddress slots,
                            int experts, const std::string& type, DeviceAddress z,
                            const std::vector<DeviceAddress>& expert_z, DeviceAddress stream) {
  constexpr const char* kWhere = "start_latent_cuda";
  check_experts(kWhere, static_cast<size_t>(experts));
  StartLatentDeviceBatch batch;
  LatentShape sizes;
  std::tie(batch.tiles, sizes.channels, sizes.height, sizes.width) = shape;
  for (const int size : {batch.tiles, sizes.channels, sizes.height, sizes.width}) {
    check_size(kWhere, "shape", size);
  }
  check_address(kWhere, "origins", origins);
  check_address(kWhere, "slots", slots);
  check_address(kWhere, "z", z);
  batch.experts = experts;
  batch.type = expert_type(kWhere, type);
  batch.z_low = at<float>(z_low);
  batch.origins = at<NoiseOrigin>(origins);
  batch.slots = at<int>(slots);
  batch.z = at<float>(z);
  const auto next = expert_batches(kWhere, "expert_z", expert_z, static_cast<size_t>(experts));
  std::copy(next.begin(), next.end(), batch.expert_z);
  start_latent_cuda(sizes, {signal, spread, seed}, batch, at<void>(stream));
}

}  // namespace

void bind_start_latent(py::module_& m) {
  m.def("start_latent", &start_latent, py::arg("z_low"), py::arg("shape"), py::arg("signal"),
        py::arg("spread"), py::arg("seed"), py::arg("origin"),
        "The state from which one tile's sampling starts, on the CPU.");
  m.def("start_latent_cuda", &start_latent_on_device, py::kw_only(), py::arg("shape"),
        py::arg("z_low"), py::arg("signal"), py::arg("spread"), py::arg("seed"), py::arg("origins"),
        py::arg("slots"), py::arg("experts"), py::arg("expert_type"), py::arg("z"),
        py::arg("expert_z") = std::vector<DeviceAddress>{}, py::arg("stream") = DeviceAddress{0},
        "The same of a batch on a CUDA device.");
}

}  // namespace mdr::bindings
