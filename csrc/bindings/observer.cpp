#include "bindings/observer.h"

#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {

void check_signals() {
  const py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

EnhanceObserver observer_of(const py::object& progress, const py::object& cancel) {
  EnhanceObserver observer;
  if (!progress.is_none()) {
    observer.progress = [&progress](int done, int total) {
      const py::gil_scoped_acquire acquire;
      progress(done, total);
    };
  }
  observer.poll = [&cancel] {
    check_signals();
    const py::gil_scoped_acquire acquire;
    if (!cancel.is_none() && cancel().cast<bool>()) {
      fail(ErrorKind::cancelled,
           "enhance: expected to finish, but cancel() asked to stop; nothing was written; start ",
           "again for a result");
    }
  };
  return observer;
}

}  // namespace mdr::bindings
