#pragma once

#include <string>

namespace mdr::capi {

// Where the moediff-rt command keeps engines (moediff_rt/cache.py); "" when no home is known.
std::string engines_folder();

}  // namespace mdr::capi
