#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace mdr {

// Typed, range-checked reads from bundle.json by dotted key ("tile.height"); every refusal is an
// Error(ErrorKind::bundle) that names the key and the file.
class BundleFields {
 public:
  BundleFields(const Json& document, std::string file);

  const std::string& file() const { return file_; }
  bool has(const std::string& key) const { return look_up(key) != nullptr; }
  std::string string(const std::string& key) const;
  double number(const std::string& key, double low, double high) const;
  int integer(const std::string& key, int low, int high) const;
  // `otherwise` where the bundle, made before the key was known, does not have it.
  int integer(const std::string& key, int low, int high, int otherwise) const;
  std::vector<double> numbers(const std::string& key, size_t most) const;
  std::vector<std::string> strings(const std::string& key) const;
  std::string choice(const std::string& key, const std::vector<std::string>& allowed) const;

  [[noreturn]] void wrong(const std::string& key, const std::string& expected,
                          const std::string& found) const;

 private:
  const Json* look_up(const std::string& key) const;
  const Json& find(const std::string& key) const;

  const Json& document_;
  std::string file_;
};

}  // namespace mdr
