#include "backends/openvino_error.h"

#include <stdexcept>

#include "claim.h"

using claims::check;
using claims::Claim;
using claims::equal;
using mdr::ErrorKind;

namespace {

mdr::Error told(const std::string& found) {
  return mdr::openvino_error(ErrorKind::engine, "engine: expected it to compile",
                             std::runtime_error(found), "export the bundle again");
}

const Claim others("what is wrong with a module is told with its remedy, on one line", [] {
  const mdr::Error error = told("Check 'rank' failed\n  at node.cpp:7:\nunknown operator");
  check(error.kind() == ErrorKind::engine, "of the kind that was given");
  equal(std::string(error.what()),
        "engine: expected it to compile, found Check 'rank' failed at node.cpp:7: unknown "
        "operator; export the bundle again");
});

// As OpenVINO 2026.4 hands them on under `ulimit -v`.
const Claim exhausted("where memory or threads ran out, that is the cause", [] {
  for (const char* found :
       {"Exception from plugin.cpp:54:\nstd::bad_alloc\n", "can't alloc",
        "Resource temporarily unavailable",
        "Cannot load library \"libopenvino_intel_cpu_plugin.so\": failed to map segment from "
        "shared object"}) {
    const mdr::Error error = told(found);
    const std::string words = error.what();
    check(error.kind() == ErrorKind::exhausted, "kind of ", found);
    check(words.find("memory or threads ran out") != std::string::npos, words);
    check(words.find("export the bundle again") == std::string::npos, words);
  }
});

}  // namespace
