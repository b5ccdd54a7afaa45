#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

// A test file is a list of named claims: CLAIM("name", { ... check(...); ... });
namespace claims {

class Failure : public std::exception {};

inline std::vector<std::pair<std::string, std::function<void()>>>& all() {
  static std::vector<std::pair<std::string, std::function<void()>>> list;
  return list;
}

struct Claim {
  Claim(const char* name, std::function<void()> body) { all().emplace_back(name, std::move(body)); }
};

template <typename... Parts>
void check(bool holds, const Parts&... parts) {
  if (holds) return;
  std::printf("  %s\n", mdr::text(parts...).c_str());
  throw Failure();
}

template <typename A, typename B>
void equal(const A& found, const B& expected) {
  check(found == expected, "found ", found, ", expected ", expected);
}

// `body` must throw E with `words` in its text.
template <typename E>
void throws(const std::string& words, const std::function<void()>& body) {
  try {
    body();
  } catch (const E& error) {
    const std::string what = error.what();
    check(what.find(words) != std::string::npos, "thrown: ", what, ", without: ", words);
    return;
  }
  check(false, "nothing thrown, expected: ", words);
}

inline int run() {
  int failed = 0;
  for (const auto& [name, body] : all()) {
    try {
      body();
    } catch (const Failure&) {
      ++failed;
      std::printf("FAILED %s\n", name.c_str());
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED %s: %s\n", name.c_str(), error.what());
    }
  }
  std::printf("%zu passed, %d failed\n", all().size() - failed, failed);
  return failed ? 1 : 0;
}

}  // namespace claims

int main() { return claims::run(); }
