#pragma once

namespace mdr {

// Whether this processor, which has bfloat16 instructions, does more of them a second than float32
// ones: with AMX, or as AMD's VDPBF16PS. Intel's VDPBF16PS without AMX goes to one port where
// float32 has two, so that only the conversions are left over.
bool bfloat16_is_faster();

// Whether it has AVX-512 VNNI, which sums products of 8-bit integers in 32 bits; AVX2 keeps sums of
// two in 16, and saturates.
bool has_int8_products();

// Whether these are faster than bfloat16 and float32: measured on an EPYC that has bf16,
// and not where there is AMX.
bool int8_is_faster();

}  // namespace mdr
