#include "core/sampler.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

py::array_t<double> coefficients(const std::string& method,
                                 const std::vector<double>& alphas_cumprod, int steps,
                                 int start_timestep, double eta) {
  const auto rows = step_coefficients(method, alphas_cumprod, steps, start_timestep, eta);
  py::array_t<double> out({static_cast<py::ssize_t>(rows.size()), py::ssize_t{4}});
  auto to = out.mutable_unchecked<2>();
  for (size_t k = 0; k < rows.size(); ++k) {
    const double row[] = {rows[k].c_z, rows[k].c_0, rows[k].c_1, rows[k].c_n};
    for (int i = 0; i < 4; ++i) to(k, i) = row[i];
  }
  return out;
}

}  // namespace

void bind_sampler(py::module_& m) {
  m.def("timesteps", &timesteps, py::arg("K"), py::arg("start_timestep"),
        "The timestep at the start of each of K steps.");
  m.def("step_coefficients", &coefficients, py::arg("method"), py::arg("alphas_cumprod"),
        py::arg("K"), py::arg("start_timestep"), py::arg("eta"),
        "(K, 4) float64: c_z, c_0, c_1, c_n of each step.");
}

}  // namespace mdr::bindings
