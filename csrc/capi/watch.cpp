#include "capi/watch.h"

#include <string>

#include "capi/status.h"

namespace mdr::capi {

Watch::Watch(const mdr_enhance_params& params)
    : progress_(params.progress),
      cancel_(params.cancel),
      user_data_(params.user_data),
      deadline_ms_(params.deadline_ms) {}

void Watch::look() const {
  if (deadline_ms_ > 0 && Clock::now() - begin_ >= std::chrono::milliseconds(deadline_ms_)) {
    const std::string tiles = total_ == 0 ? "no tile" : text(done_, " of ", total_, " tiles");
    refuse(
        MDR_TIMEOUT, "mdr_enhance: expected to finish within ", deadline_ms_, " ms, found ", tiles,
        " done by then; the volume is probably too large for this computer, or it is busy; allow "
        "more time, or choose a coarser output or a slab");
  }
  if (cancel_ && cancel_(user_data_) != 0) {
    fail(ErrorKind::cancelled,
         "mdr_enhance: expected to finish, but cancel() asked to stop; nothing was written; call "
         "again for a result");
  }
}

void Watch::progress(int done, int total) {
  done_ = done;
  total_ = total;
  if (progress_) progress_(done, total, user_data_);
}

double Watch::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begin_).count();
}

}  // namespace mdr::capi
