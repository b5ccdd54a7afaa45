#include "moediff_rt.h"

extern "C" {

uint32_t mdr_abi_version(void) { return MDR_ABI_VERSION; }

const char* mdr_version(void) { return MDR_VERSION; }

}  // extern "C"
