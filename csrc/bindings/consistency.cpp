#include "core/consistency.h"

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"
#include "core/error.h"
#include "core/planes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

double enforce_on_array(const py::object& result, const py::object& scan, double sigma,
                        double kappa, int profile_axis, double profile_width, int threads) {
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
  if (!(profile_axis >= 0 && profile_axis <= 2 && profile_width >= 0 &&
        profile_width <= kWidestProfile)) {
    fail(ErrorKind::input, where, ": expected a profile along axis 0, 1 or 2, of width 0 to ",
         kWidestProfile, ", found axis ", profile_axis, " and ", profile_width,
         "; is it in mm? Give what find_slice_profile says");
  }
  const VolumeShape shape = volume_shape(volume, where);
  const VolumeShape scan_shape = volume_shape(measured, where);
  float* to = volume.mutable_data();
  const float* from = measured.data();
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  return enforce_consistency(parallel, to, shape, from, scan_shape, sigma, kappa,
                             {profile_axis, profile_width});
}

std::pair<int, double> profile_of_array(const py::object& scan, const Triple& spacing, double sigma,
                                        int threads) {
  const char* where = "find_slice_profile";
  const auto measured = checked_array<float>(scan, where, "scan", {-1, -1, -1});
  const VolumeShape shape = volume_shape(measured, where);
  const float* from = measured.data();
  const auto [z, y, x] = spacing;
  if (!(z > 0 && y > 0 && x > 0 && sigma >= 0)) {
    fail(ErrorKind::input, where, ": expected edges above 0 and sigma of 0 or more, found ", z,
         ", ", y, ", ", x, " and ", sigma, "; were they read from a header without them?");
  }
  const py::gil_scoped_release release;
  Parallel parallel = parallel_of(threads);
  const SliceProfile found = find_slice_profile(parallel, from, shape, {z, y, x}, sigma);
  return {found.axis, found.width};
}

}  // namespace

void bind_consistency(py::module_& m) {
  m.attr("KAPPA") = kKappa;
  m.def("enforce_consistency", &enforce_on_array, py::arg("result"), py::arg("scan"),
        py::arg("sigma"), py::kw_only(), py::arg("kappa") = kKappa, py::arg("profile_axis") = 0,
        py::arg("profile_width") = 0.0, py::arg("threads") = 0,
        "Put back into a result, in place, what of the scan it has lost.");
  m.def(
      "has_thick_slices",
      [](const Triple& spacing) {
        const auto [z, y, x] = spacing;
        return has_thick_slices({z, y, x});
      },
      py::arg("spacing"), "Whether the coarsest edge stands out: slices lie along it alone.");
  m.def("find_slice_profile", &profile_of_array, py::arg("scan"), py::arg("spacing"),
        py::arg("sigma"), py::kw_only(), py::arg("threads") = 0,
        "Whether a scan's slices look as if integrated over a profile: (axis, width).");
}

}  // namespace mdr::bindings
