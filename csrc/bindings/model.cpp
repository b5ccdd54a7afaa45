#include "core/load_model.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "backends/registry.h"
#include "bindings/bindings.h"
#include "bindings/observer.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

using OnEngine = std::function<void(const EngineReport&)>;

std::shared_ptr<Model> make_model(const Bundle& bundle, const std::string& backend,
                                  const std::string& device, const std::string& precision,
                                  int threads, const std::string& engines_dir, bool force,
                                  const std::optional<OnEngine>& on_engine) {
  DeviceRequest request{device, precision, threads, engines_dir, force};
  request.int8_there = !bundle.int8_modules.empty();
  const auto told = [&](const EngineReport& report) {
    const py::gil_scoped_acquire acquire;
    if (on_engine) (*on_engine)(report);
  };
  const py::gil_scoped_release release;
  return load_model(
      bundle, [backend, request] { return open_device(backend, request); }, told, check_signals);
}

}  // namespace

void bind_model(py::module_& m) {
  // Runs while the interpreter and the backends are whole; the loads left need neither the GIL nor
  // Python.
  py::module_::import("atexit").attr("register")(py::cpp_function(&join_left_loads));
  py::class_<Model, std::shared_ptr<Model>>(m, "Model", "A bundle's engines on one device.")
      .def(py::init(&make_model), py::arg("bundle"), py::kw_only(), py::arg("backend") = "auto",
           py::arg("device") = "auto", py::arg("precision") = "auto", py::arg("threads") = 0,
           py::arg("engines_dir") = "", py::arg("force") = false, py::arg("on_engine") = py::none())
      .def_property_readonly("engines", &Model::reports)
      .def_property_readonly("backend", [](const Model& m) { return m.device().backend(); })
      .def_property_readonly("device", [](const Model& m) { return m.device().name(); })
      .def_property_readonly("precision", [](const Model& m) { return m.device().precision(); })
      .def_property_readonly("threads", [](const Model& m) { return m.device().threads(); });
}

}  // namespace mdr::bindings
