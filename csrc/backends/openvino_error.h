#pragma once

#include <exception>
#include <string>

#include "core/error.h"

namespace mdr {

// What OpenVINO says of a failure, on one line.
std::string one_line(const std::exception& error);

// The error for it: where memory or threads ran out, of kind `exhausted` and with that as the
// cause, otherwise of `kind` and with `remedy`. `expected` is "where: expected ...".
Error openvino_error(ErrorKind kind, const std::string& expected, const std::exception& error,
                     const std::string& remedy);

}  // namespace mdr
