#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mdr {

class JsonError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A parsed JSON value (RFC 8259, strict: no comments, no trailing commas, no duplicate keys).
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;
  static constexpr int kMaxDepth = 64;

  Json() = default;
  template <typename T>
  explicit Json(T value) : value_(std::move(value)) {}

  static Json parse(std::string_view text);

  // nullptr when the value is of another type.
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const double* number() const { return std::get_if<double>(&value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }

  // The member of that name, or nullptr when this is no object or has no such member.
  const Json* find(std::string_view key) const;
  const char* type_name() const;

 private:
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_ = nullptr;
};

// `value` as a JSON string literal, quotes included.
std::string json_quote(std::string_view value);

}  // namespace mdr
