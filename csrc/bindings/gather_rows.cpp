#include "ops/gather_rows.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/bindings.h"
#include "bindings/device_memory.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

void gather_rows_on_device(int tiles, int64_t row, const std::string& type, DeviceAddress slots,
                           DeviceAddress from, const std::vector<DeviceAddress>& to,
                           DeviceAddress stream) {
  constexpr const char* kWhere = "gather_rows_cuda";
  check_experts(kWhere, to.size());
  check_size(kWhere, "number of tiles", tiles);
  check_size(kWhere, "row", row);
  check_address(kWhere, "slots", slots);
  check_address(kWhere, "from", from);
  GatherRowsDeviceBatch batch{
      tiles,         static_cast<int>(to.size()), expert_type(kWhere, type), row, at<int>(slots),
      at<void>(from)};
  const auto batches = expert_batches(kWhere, "to", to, to.size());
  std::copy(batches.begin(), batches.end(), batch.to);
  gather_rows_cuda(batch, at<void>(stream));
}

}  // namespace

void bind_gather_rows(py::module_& m) {
  m.def("gather_rows_cuda", &gather_rows_on_device, py::kw_only(), py::arg("tiles"), py::arg("row"),
        py::arg("expert_type"), py::arg("slots"), py::arg("source"), py::arg("to"),
        py::arg("stream") = DeviceAddress{0}, "Rows of a batch into each expert's own batch.");
}

}  // namespace mdr::bindings
