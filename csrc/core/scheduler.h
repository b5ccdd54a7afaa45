#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/enhance.h"
#include "core/slice_blend.h"
#include "core/tile_unit.h"

namespace mdr {

// Runs all tiles of one enhance() call. A window of units (a unit is as many tiles of one size as
// one engine request takes, or fewer) is under way at once. Each unit alternates between engine
// calls, of which at most `requests_in_flight` run at a time over all engines, the earliest unit's
// first, and the work between them, which a few threads share. Finished units are blended in order.
class Scheduler : public std::enable_shared_from_this<Scheduler> {
 public:
  // `plans`: one for each size that tiles have.
  Scheduler(const std::vector<TilePlan>& plans, std::vector<Tile> tiles, int window,
            SliceBlend& blend);

  EnhanceReport run(const EnhanceObserver& observer);

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct UnitState {
    std::unique_ptr<TileUnit> unit;
    int calls_under_way = 0;
  };
  struct WaitingCall {
    int unit;
    int order;
    EngineCall call;
    bool operator<(const WaitingCall& other) const {
      return unit != other.unit ? unit > other.unit : order > other.order;
    }
  };

  int units() const { return static_cast<int>(unit_begins_.size()) - 1; }
  bool over() const { return stopped_ || blended_units_ == units(); }
  // The slice of the first tile that no thread has read yet; past the last slice when none is left.
  int first_unread_slice() const;
  bool can_submit() const { return !waiting_.empty() && in_flight_ < most_in_flight_; }
  void admit();
  void work();
  void work_until_over(Lock& lock);
  void submit_next(Lock& lock);
  void advance_next(Lock& lock);
  void blend_ready(Lock& lock);
  void call_done(int unit, const char* stage, double seconds, const std::exception_ptr& error);
  void stop(std::exception_ptr error);
  void watch(const EnhanceObserver& observer);
  std::vector<Tile> tiles_of(int unit) const;
  const Tile& first_of(int unit) const { return tiles_[unit_begins_[unit]]; }
  std::unique_ptr<TileUnit> memory_for(TileSize size);

  const std::vector<TilePlan>& plans_;
  const std::vector<Tile> tiles_;
  const int unit_size_, most_in_flight_, window_;
  std::vector<size_t> unit_begins_;  // in tiles_, and their end
  SliceBlend& blend_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, UnitState> states_;  // units under way
  std::unique_ptr<TileUnit> spare_;  // memory of the last blended one, used again
  std::priority_queue<WaitingCall> waiting_;
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready_;  // to be advanced
  std::set<int> unread_;  // of those under way, whose slices were not read yet
  std::map<int, std::unique_ptr<TileUnit>> finished_;  // to be blended
  int admitted_ = 0, blended_units_ = 0, in_flight_ = 0;
  bool blending_ = false, stopped_ = false;
  std::exception_ptr error_;
  EnhanceReport report_;
};

}  // namespace mdr
