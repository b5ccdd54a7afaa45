#include <stdexcept>
#include <string>
#include <vector>

#include "claim.h"
#include "stand_in_engine.h"

using claims::check;
using claims::Claim;
using claims::equal;

namespace {

mdr_status run_with(mdr_progress_callback progress, mdr_log_callback log = nullptr) {
  mdr_engine_params engine_params = mdr_engine_default_params();
  engine_params.log = log;
  mdr_engine* engine = stand_in_engine(&engine_params);
  mdr_session* session = nullptr;
  equal(mdr_session_create(engine, &session), MDR_OK);
  const mdr_grid grid = {16, 16, 12, {2, 2, 2}};
  std::vector<float> scan(mdr_grid_voxels(&grid)), out(scan.size() * 8);
  for (size_t i = 0; i < scan.size(); ++i) scan[i] = i % 16 > 3 ? 500 + i % 37 : 1 + i % 3;
  mdr_enhance_params params = mdr_enhance_default_params();
  params.progress = progress;
  const mdr_status status =
      mdr_enhance(session, scan.data(), &grid, &params, out.data(), out.size());
  mdr_session_free(session);
  mdr_engine_free(engine);
  return status;
}

const Claim known("an exception of a callback ends the run and does not come out", [] {
  equal(run_with([](int32_t, int32_t, void*) { throw std::runtime_error("of the host"); }),
        MDR_INTERNAL_ERROR);
  equal(std::string(mdr_last_error()), "of the host");
});

const Claim unknown("nor does one that is no std::exception", [] {
  equal(run_with([](int32_t, int32_t, void*) { throw 42; }), MDR_INTERNAL_ERROR);
  check(std::string(mdr_last_error()).find("callback") != std::string::npos, mdr_last_error());
});

const Claim log("one of the log changes nothing", [] {
  static bool told;
  told = false;
  const auto fails = [](mdr_log_level, const char*, void*) {
    told = true;
    throw std::runtime_error("of the log");
  };
  equal(run_with(nullptr, fails), MDR_OK);
  check(told, "nothing was logged");
});

const Claim quiet("without one the same run goes well",
                  [] { equal(run_with([](int32_t, int32_t, void*) {}), MDR_OK); });

}  // namespace
