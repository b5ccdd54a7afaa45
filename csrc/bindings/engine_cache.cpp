#include "backends/engine_cache.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

// The blob as bytes, or None; the manifest; why there is none.
py::tuple find(const EngineCache& cache, const EngineKey& key) {
  EngineCache::Lookup found;
  {
    const py::gil_scoped_release release;
    found = cache.find(key);
  }
  const py::object blob = found.blob ? py::object(py::bytes(*found.blob)) : py::none();
  return py::make_tuple(blob, found.manifest, found.reason);
}

}  // namespace

void bind_engine_cache(py::module_& m) {
  py::class_<EngineKey>(m, "EngineKey",
                        "Everything that decides whether a kept engine may be used.")
      .def(py::init<std::string, std::string, std::string, std::string, std::string, std::string,
                    std::string, std::string>(),
           py::kw_only(), py::arg("module"), py::arg("onnx_sha256"), py::arg("backend"),
           py::arg("backend_version"), py::arg("device"), py::arg("device_name"),
           py::arg("precision"), py::arg("profile"));

  py::class_<EngineCache>(m, "EngineCache", "Engines on disk, one file each.")
      .def(py::init([](const std::string& folder) { return EngineCache(folder); }),
           py::arg("folder"))
      .def("find", &find, py::arg("key"))
      .def(
          "store",
          [](const EngineCache& cache, const EngineKey& key, const py::bytes& blob, double seconds,
             const std::string& details) {
            const std::string_view view(blob);
            const py::gil_scoped_release release;
            return cache.store(key, view, seconds, details);
          },
          py::arg("key"), py::arg("blob"), py::arg("seconds"), py::arg("details") = "{}")
      .def("path",
           [](const EngineCache& cache, const EngineKey& key) { return cache.path(key).string(); });
}

}  // namespace mdr::bindings
