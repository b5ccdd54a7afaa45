#include <array>
#include <string>

#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

// The Python classes in the order of ErrorKind, kept for the life of the process.
const std::array<py::handle, 8>& error_classes() {
  static const std::array<py::handle, 8> classes = [] {
    const py::module_ errors = py::module_::import("moediff_rt.errors");
    std::array<py::handle, 8> found;
    size_t i = 0;
    for (const char* name : {"InputError", "BundleError", "EngineError", "BackendError",
                             "OutputError", "InputError", "EngineError", "Cancelled"}) {
      found[i++] = errors.attr(name).cast<py::object>().release();
    }
    return found;
  }();
  return classes;
}

}  // namespace

void bind_errors(py::module_&) {
  error_classes();
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::handle type = error_classes()[static_cast<size_t>(error.kind())];
      PyErr_SetString(type.ptr(), error.what());
    }
  });
}

}  // namespace mdr::bindings
