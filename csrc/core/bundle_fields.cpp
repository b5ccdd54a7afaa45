#include "core/bundle_fields.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace mdr {

BundleFields::BundleFields(const Json& document, std::string file)
    : document_(document), file_(std::move(file)) {
  if (!document.object()) wrong("the whole file", "an object", document.type_name());
}

void BundleFields::wrong(const std::string& key, const std::string& expected,
                         const std::string& found) const {
  fail(ErrorKind::bundle, "load_bundle: expected ", expected, " for ", key, ", found ", found,
       " in ", file_,
       "; the bundle is probably damaged or was made by another program; export it again");
}

const Json* BundleFields::look_up(const std::string& key) const {
  const Json* at = &document_;
  for (size_t begin = 0; at && begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    at = at->find(std::string_view(key).substr(begin, end - begin));
    begin = end + 1;
  }
  return at;
}

const Json& BundleFields::find(const std::string& key) const {
  const Json* at = look_up(key);
  if (!at) wrong(key, "a value", "no such key");
  return *at;
}

std::string BundleFields::string(const std::string& key) const {
  const Json& value = find(key);
  if (!value.string()) wrong(key, "a string", value.type_name());
  return *value.string();
}

double BundleFields::number(const std::string& key, double low, double high) const {
  const Json& value = find(key);
  if (!value.number()) wrong(key, "a number", value.type_name());
  if (*value.number() < low || *value.number() > high) {
    wrong(key, text("a number from ", low, " to ", high), text(*value.number()));
  }
  return *value.number();
}

int BundleFields::integer(const std::string& key, int low, int high) const {
  const double value = number(key, low, high);
  if (value != std::floor(value)) wrong(key, "a whole number", text(value));
  return static_cast<int>(value);
}

int BundleFields::integer(const std::string& key, int low, int high, int otherwise) const {
  return look_up(key) ? integer(key, low, high) : otherwise;
}

std::vector<double> BundleFields::numbers(const std::string& key, size_t most) const {
  const Json& value = find(key);
  if (!value.array()) wrong(key, "an array", value.type_name());
  if (value.array()->size() > most) {
    wrong(key, text("at most ", most, " values"), text(value.array()->size()));
  }
  std::vector<double> out;
  for (const Json& item : *value.array()) {
    if (!item.number()) wrong(key, "an array of numbers", item.type_name());
    out.push_back(*item.number());
  }
  return out;
}

std::vector<std::string> BundleFields::strings(const std::string& key) const {
  const Json& value = find(key);
  if (!value.array()) wrong(key, "an array", value.type_name());
  std::vector<std::string> out;
  for (const Json& item : *value.array()) {
    if (!item.string()) wrong(key, "an array of strings", item.type_name());
    out.push_back(*item.string());
  }
  return out;
}

std::string BundleFields::choice(const std::string& key,
                                 const std::vector<std::string>& allowed) const {
  const std::string value = string(key);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    std::string expected;
    for (const std::string& one : allowed) expected += (expected.empty() ? "" : " or ") + one;
    wrong(key, expected, json_quote(value));
  }
  return value;
}

}  // namespace mdr
