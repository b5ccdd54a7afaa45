#include "core/consistency.h"

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"
#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

double enforce_on_array(const py::object& result, const py::object& scan, double sigma,
                        double kappa, int threads) {
  const char* where = "enforce_consistency";
  auto volume = checked_array<float>(result, where, "result", {-1, -1, -1});
  const auto measured = checked_array<float>(scan, where, "scan", {-1, -1, -1});
  if (!volume.writeable()) {
    fail(ErrorKind::input, where,
         ": expected a result that may be changed, found a read-only array; give a copy");
  }
  if (!(sigma >= 0 && kappa >= 0)) {
    fail(ErrorKind::input, where, ": expected sigma and kappa of 0 or more, found ", sigma, " and ",
         kappa, "; is the scan finite?");
  }
  const VolumeShape shape = volume_shape(volume, where);
  const VolumeShape scan_shape = volume_shape(measured, where);
  float* to = volume.mutable_data();
  const float* from = measured.data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  return enforce_consistency(parallel, to, shape, from, scan_shape, sigma, kappa);
}

}  // namespace

void bind_consistency(py::module_& m) {
  m.attr("KAPPA") = kKappa;
  m.def("enforce_consistency", &enforce_on_array, py::arg("result"), py::arg("scan"),
        py::arg("sigma"), py::kw_only(), py::arg("kappa") = kKappa, py::arg("threads") = 0,
        "Put back into a result, in place, what of the scan it has lost.");
}

}  // namespace mdr::bindings
