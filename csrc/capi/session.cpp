#include "capi/session.h"

#include "capi/enhance.h"
#include "capi/params.h"
#include "capi/status.h"

namespace mdr::capi {
namespace {

// A session's use by one call.
class Use {
 public:
  Use(const char* where, const mdr_session& session) : session_(session) {
    if (!session_.busy.exchange(true)) return;
    refuse(MDR_INVALID_ARGUMENT, where,
           ": expected a session that is not in use, found one that is at this moment; another "
           "thread or a callback probably shares it; make a session for each thread");
  }
  ~Use() { session_.busy = false; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  const mdr_session& session_;
};

}  // namespace
}  // namespace mdr::capi

extern "C" {

mdr_status mdr_session_create(mdr_engine* engine, mdr_session** session) {
  using namespace mdr::capi;
  if (session) *session = nullptr;
  return guarded([&] {
    need(session, "mdr_session_create", "session");
    need(engine, "mdr_session_create", "engine");
    auto made = std::make_unique<mdr_session>();
    made->loaded = engine->loaded;
    *session = made.release();
  });
}

void mdr_session_free(mdr_session* session) { delete session; }

mdr_status mdr_output_grid(const mdr_engine* engine, const mdr_grid* scan,
                           const mdr_enhance_params* params, mdr_grid* output) {
  using namespace mdr::capi;
  constexpr const char* kName = "mdr_output_grid";
  return guarded([&] {
    need(engine, kName, "engine");
    need(scan, kName, "scan");
    need(output, kName, "output");
    *output = output_grid(engine->loaded->model->bundle(), *scan, taken(kName, params));
  });
}

mdr_status mdr_enhance(mdr_session* session, const float* scan, const mdr_grid* grid,
                       const mdr_enhance_params* params, float* out, size_t out_voxels) {
  using namespace mdr::capi;
  const mdr_status status = guarded([&] {
    need(session, kEnhance, "session");
    need(scan, kEnhance, "scan");
    need(grid, kEnhance, "grid");
    need(out, kEnhance, "out");
    const Use use(kEnhance, *session);
    session->report =
        enhance(*session->loaded, scan, *grid, taken(kEnhance, params), out, out_voxels);
  });
  if (session && status != MDR_OK) session->loaded->log(MDR_LOG_ERROR, mdr_last_error());
  return status;
}

mdr_status mdr_session_report(const mdr_session* session, mdr_report* report) {
  using namespace mdr::capi;
  constexpr const char* kName = "mdr_session_report";
  return guarded([&] {
    need(session, kName, "session");
    const Use use(kName, *session);
    if (session->report.struct_size == 0) {
      refuse(MDR_INVALID_ARGUMENT, kName,
             ": expected a session that has enhanced a volume, found "
             "that none of its calls went well yet; call mdr_enhance() "
             "first and check its status");
    }
    give(kName, "report", session->report, kFirstReport, report);
  });
}

}  // extern "C"
