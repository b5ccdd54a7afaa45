#include "capi/params.h"

namespace mdr::capi {
namespace {

// What the library does not know yet stays zero, and is refused when it comes back.
template <typename Params>
void fill(Params* params, size_t struct_size, Params defaults) noexcept {
  if (!params || struct_size < sizeof params->struct_size) return;
  std::memset(params, 0, struct_size);
  std::memcpy(params, &defaults, std::min(struct_size, sizeof defaults));
  params->struct_size = struct_size;
}

template <typename Params>
Params take(const char* function, const Params* params, size_t first, Params out) {
  if (!params) return out;
  check_struct_size(function, "params", params->struct_size, first, sizeof out);
  std::memcpy(&out, params, params->struct_size);
  out.struct_size = sizeof out;
  return out;
}

}  // namespace

void check_struct_size(const char* function, const char* name, size_t found, size_t first,
                       size_t latest) {
  if (found >= first && found <= latest) return;
  refuse(MDR_INVALID_ARGUMENT, function, ": expected ", name, "->struct_size from ", first, " to ",
         latest, ", found ", found,
         found > latest ? "; the program was probably built with the header of a newer release; "
                          "install that release's library"
                        : "; it was probably never set; start from the default params, or set it "
                          "to sizeof the struct");
}

mdr_engine_params engine_defaults() {
  mdr_engine_params params{};
  params.struct_size = sizeof params;
  params.log_level = MDR_LOG_INFO;
  return params;
}

mdr_enhance_params enhance_defaults() {
  mdr_enhance_params params{};
  params.struct_size = sizeof params;
  params.samples = 1;
  params.data_consistency = 1;
  return params;
}

mdr_engine_params taken(const char* function, const mdr_engine_params* params) {
  return take(function, params, kFirstEngineParams, engine_defaults());
}

mdr_enhance_params taken(const char* function, const mdr_enhance_params* params) {
  return take(function, params, kFirstEnhanceParams, enhance_defaults());
}

}  // namespace mdr::capi

extern "C" {

void mdr_engine_fill_params(mdr_engine_params* params, size_t struct_size) {
  mdr::capi::fill(params, struct_size, mdr::capi::engine_defaults());
}

void mdr_enhance_fill_params(mdr_enhance_params* params, size_t struct_size) {
  mdr::capi::fill(params, struct_size, mdr::capi::enhance_defaults());
}

}  // extern "C"
