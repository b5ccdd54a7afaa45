#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace mdr {

// memory: the limit that was given is too low; exhausted: the system, or a GPU, has no more.
enum class ErrorKind { input, bundle, engine, backend, output, memory, exhausted, cancelled };

// Every failure a caller can act on: "where: expected ..., found ...; likely cause; remedy".
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  (stream << ... << parts);
  return stream.str();
}

template <typename... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, text(parts...));
}

}  // namespace mdr
