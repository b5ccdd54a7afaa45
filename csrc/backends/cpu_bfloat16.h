#pragma once

namespace mdr {

// Whether this processor, which has bfloat16 instructions, does more of them a second than float32
// ones: with AMX, or as AMD's VDPBF16PS. Intel's VDPBF16PS without AMX goes to one port where
// float32 has two, so that only the conversions are left over.
bool bfloat16_is_faster();

}  // namespace mdr
