#pragma once

#include <cstdint>

namespace mdr {

constexpr int kMaxExperts = 8;

// What an expert reads and writes. The sampler's state is float32 whatever this is.
enum class ExpertType { float32, float16, bfloat16 };

constexpr int64_t bytes_of(ExpertType type) { return type == ExpertType::float32 ? 4 : 2; }

}  // namespace mdr
