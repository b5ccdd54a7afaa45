#include "backends/backend.h"

#include <pybind11/stl.h>

#include "backends/registry.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace mdr::bindings {

void bind_backend(py::module_& m) {
  py::class_<BackendInfo>(m, "BackendInfo", "A backend and what it can use on this computer.")
      .def_readonly("name", &BackendInfo::name)
      .def_readonly("available", &BackendInfo::available)
      .def_readonly("reason", &BackendInfo::reason)
      .def_readonly("version", &BackendInfo::version)
      .def_readonly("devices", &BackendInfo::devices)
      .def_readonly("precisions", &BackendInfo::precisions);

  py::class_<EngineReport>(m, "EngineReport", "How one engine came to be.")
      .def(py::init([](std::string module, std::string backend, std::string device,
                       std::string precision, std::string path, int64_t bytes, double seconds,
                       bool cached, std::string reason) {
             return EngineReport{std::move(module), std::move(backend),
                                 std::move(device), std::move(precision),
                                 std::move(path),   bytes,
                                 seconds,           cached,
                                 std::move(reason)};
           }),
           py::kw_only(), py::arg("module"), py::arg("backend"), py::arg("device"),
           py::arg("precision"), py::arg("path") = "", py::arg("bytes") = 0,
           py::arg("seconds") = 0.0, py::arg("cached") = false, py::arg("reason") = "")
      .def_readonly("module", &EngineReport::module)
      .def_readonly("backend", &EngineReport::backend)
      .def_readonly("device", &EngineReport::device)
      .def_readonly("precision", &EngineReport::precision)
      .def_readonly("path", &EngineReport::path)
      .def_readonly("bytes", &EngineReport::bytes)
      .def_readonly("seconds", &EngineReport::seconds)
      .def_readonly("cached", &EngineReport::cached)
      .def_readonly("reason", &EngineReport::reason);

  m.def(
      "backends",
      [] {
        std::vector<BackendInfo> infos;
        for (const auto& backend : all_backends()) infos.push_back(backend->info());
        return infos;
      },
      py::call_guard<py::gil_scoped_release>(), "Every known backend, usable or not.");
}

}  // namespace mdr::bindings
