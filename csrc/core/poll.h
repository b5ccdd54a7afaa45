#pragma once

#include <chrono>

namespace mdr {

// How often what works or waits asks whether it is to go on.
constexpr std::chrono::milliseconds kPollEvery{100};

}  // namespace mdr
