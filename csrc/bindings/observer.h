#pragma once

#include <pybind11/pybind11.h>

#include "core/enhance.h"

namespace mdr::bindings {

// Tells `progress` and asks `cancel`, each None or a callable, which must outlive the observer;
// also sees Ctrl-C.
EnhanceObserver observer_of(const pybind11::object& progress, const pybind11::object& cancel);

// Sees Ctrl-C alone.
void check_signals();

}  // namespace mdr::bindings
