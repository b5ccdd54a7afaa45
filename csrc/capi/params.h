#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "capi/status.h"

namespace mdr::capi {

// Structs begin with the size that the caller's header gave them and grow at their end only. These
// are the sizes of ABI version 1, below which none is valid: they end with that version's last
// field, and stay when others follow it.
constexpr size_t kFirstEngineParams =
    offsetof(mdr_engine_params, user_data) + sizeof(mdr_engine_params::user_data);
constexpr size_t kFirstEnhanceParams =
    offsetof(mdr_enhance_params, user_data) + sizeof(mdr_enhance_params::user_data);
constexpr size_t kFirstEngineInfo =
    offsetof(mdr_engine_info, output_max_mm) + sizeof(mdr_engine_info::output_max_mm);
constexpr size_t kFirstReport = offsetof(mdr_report, tiles) + sizeof(mdr_report::tiles);

void check_struct_size(const char* function, const char* name, size_t found, size_t first,
                       size_t latest);

mdr_engine_params engine_defaults();
mdr_enhance_params enhance_defaults();

// The caller's params, with defaults for NULL and for what an older header did not know yet.
mdr_engine_params taken(const char* function, const mdr_engine_params* params);
mdr_enhance_params taken(const char* function, const mdr_enhance_params* params);

// Gives `filled` to a caller whose struct may be an older, shorter one.
template <typename Struct>
void give(const char* function, const char* name, Struct filled, size_t first, Struct* to) {
  need(to, function, name);
  const size_t size = to->struct_size;
  check_struct_size(function, name, size, first, sizeof(Struct));
  filled.struct_size = size;
  std::memcpy(to, &filled, size);
}

}  // namespace mdr::capi
