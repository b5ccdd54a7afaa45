#include "backends/openvino_error.h"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace mdr {
namespace {

// OpenVINO hands on in words alone what its own allocations, oneDNN's and threads ended with.
bool ran_out(const std::string& found) {
  constexpr const char* kWords[] = {"bad_alloc", "can't alloc", "Cannot allocate memory",
                                    "failed to map segment", "Resource temporarily unavailable"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](const char* words) { return found.find(words) != std::string::npos; });
}

}  // namespace

std::string one_line(const std::exception& error) {
  std::istringstream words(error.what());
  std::string out, word;
  while (words >> word) out += (out.empty() ? "" : " ") + word;
  return out;
}

Error openvino_error(ErrorKind kind, const std::string& expected, const std::exception& error,
                     const std::string& remedy) {
  const std::string found = one_line(error);
  if (!ran_out(found)) return {kind, text(expected, ", found ", found, "; ", remedy)};
  return {ErrorKind::exhausted,
          text(expected, ", found ", found,
               "; memory or threads ran out; free some, or give fewer threads")};
}

}  // namespace mdr
