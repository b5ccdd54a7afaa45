#include "core/scheduler.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/poll.h"

namespace mdr {
namespace {

using Clock = std::chrono::steady_clock;

const HostDevice& host(const std::vector<TilePlan>& plans) {
  return static_cast<const HostDevice&>(plans.front().model->device());
}

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

Scheduler::Scheduler(const std::vector<TilePlan>& plans, std::vector<Tile> tiles, int window,
                     SliceBlend& blend)
    : plans_(plans),
      tiles_(std::move(tiles)),
      unit_size_(std::min(window, host(plans).tiles_per_request())),
      most_in_flight_(host(plans).requests_in_flight()),
      window_(std::max(1, window / unit_size_)),
      blend_(blend) {
  for (size_t i = 0; i < tiles_.size(); ++i) {
    const bool fits = !unit_begins_.empty() &&
                      i - unit_begins_.back() < static_cast<size_t>(unit_size_) &&
                      tiles_[i].size == tiles_[unit_begins_.back()].size;
    if (!fits) unit_begins_.push_back(i);
  }
  unit_begins_.push_back(tiles_.size());
  for (const char* stage :
       {"encoder", "conditioner", "gate", "experts", "decoder", "step", "blend"}) {
    report_.seconds[stage] = 0;
  }
}

std::vector<Tile> Scheduler::tiles_of(int unit) const {
  return {tiles_.begin() + unit_begins_[unit], tiles_.begin() + unit_begins_[unit + 1]};
}

// That of the unit blended last, if it had this size; otherwise new, in its place: there are never
// more than are under way at once.
std::unique_ptr<TileUnit> Scheduler::memory_for(TileSize size) {
  std::unique_ptr<TileUnit> unit = std::move(spare_);
  if (unit && unit->tiles().front().size == size) return unit;
  unit.reset();
  const auto plan = std::find_if(plans_.begin(), plans_.end(), [&](const TilePlan& one) {
    return one.model->bundle().tile() == size;
  });
  return std::make_unique<TileUnit>(*plan, unit_size_);
}

void Scheduler::admit() {
  while (admitted_ < units() && admitted_ < blended_units_ + window_) {
    UnitState& state = states_[admitted_];
    state.unit = memory_for(first_of(admitted_).size);
    state.unit->start(tiles_of(admitted_));
    unread_.insert(admitted_);
    ready_.push(admitted_++);
  }
}

int Scheduler::first_unread_slice() const {
  const int unit = unread_.empty() ? admitted_ : *unread_.begin();
  return unit < units() ? first_of(unit).z : plans_.front().shape.nz;
}

void Scheduler::stop(std::exception_ptr error) {
  if (!stopped_) error_ = std::move(error);
  stopped_ = true;
  changed_.notify_all();
}

void Scheduler::work() {
  Lock lock(mutex_);
  try {
    work_until_over(lock);
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    stop(std::current_exception());
  }
}

void Scheduler::work_until_over(Lock& lock) {
  while (true) {
    changed_.wait(lock, [&] { return over() || can_submit() || !ready_.empty(); });
    if (over()) return;
    if (can_submit()) {
      submit_next(lock);
    } else {
      advance_next(lock);
    }
  }
}

void Scheduler::submit_next(Lock& lock) {
  const WaitingCall next = waiting_.top();
  waiting_.pop();
  ++in_flight_;
  lock.unlock();
  const auto begin = Clock::now();
  const EngineCall& call = next.call;
  try {
    // The callback keeps this scheduler alive: it may still hold the lock when run() goes on.
    call.engine->submit(this, call.batch, call.inputs, call.outputs,
                        [self = shared_from_this(), unit = next.unit, stage = call.stage,
                         begin](const std::exception_ptr& error) {
                          self->call_done(unit, stage, since(begin), error);
                        });
  } catch (...) {
    call_done(next.unit, call.stage, 0, std::current_exception());
  }
  lock.lock();
}

void Scheduler::call_done(int unit, const char* stage, double seconds,
                          const std::exception_ptr& error) {
  const Lock lock(mutex_);
  --in_flight_;
  report_.seconds[stage] += seconds;
  if (error) {
    stop(error);
  } else if (--states_[unit].calls_under_way == 0) {
    try {
      ready_.push(unit);
    } catch (...) {  // the engine that calls this could do nothing with it
      stop(std::current_exception());
    }
  }
  changed_.notify_all();
}

void Scheduler::advance_next(Lock& lock) {
  const int index = ready_.top();
  ready_.pop();
  UnitState& state = states_[index];
  TileUnit& unit = *state.unit;
  lock.unlock();
  const auto begin = Clock::now();
  std::vector<EngineCall> calls = unit.advance();
  const double seconds = since(begin);
  lock.lock();
  report_.seconds["step"] += seconds;
  unread_.erase(index);
  state.calls_under_way = static_cast<int>(calls.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    waiting_.push({index, static_cast<int>(i), std::move(calls[i])});
  }
  if (calls.empty()) {
    finished_[index] = std::move(state.unit);
    states_.erase(index);
    blend_ready(lock);
  }
  changed_.notify_all();
}

void Scheduler::blend_ready(Lock& lock) {
  if (blending_) return;
  blending_ = true;
  while (!stopped_ && !finished_.empty() && finished_.begin()->first == blended_units_) {
    std::unique_ptr<TileUnit> unit = std::move(finished_.begin()->second);
    finished_.erase(finished_.begin());
    const int unread = first_unread_slice();
    lock.unlock();
    const auto begin = Clock::now();
    blend_.read_before(unread);
    for (size_t i = 0; i < unit->tiles().size(); ++i) {
      const int tile = static_cast<int>(i);
      blend_.add(unit->tiles()[i], unit->image(tile), unit->gates(tile));
    }
    const double seconds = since(begin);
    lock.lock();
    report_.seconds["blend"] += seconds;
    report_.tiles += static_cast<int>(unit->tiles().size());
    report_.expert_calls += unit->expert_calls();
    report_.expert_calls_saved += unit->expert_calls_saved();
    spare_ = std::move(unit);
    ++blended_units_;
    admit();
    changed_.notify_all();
  }
  blending_ = false;
}

void Scheduler::watch(const EnhanceObserver& observer) {
  const int total = static_cast<int>(tiles_.size());
  int told = -1;
  Lock lock(mutex_);
  while (true) {
    const int done = report_.tiles;
    const bool last = over();
    lock.unlock();
    if (observer.poll) observer.poll();
    if (observer.progress && done != told) observer.progress(done, total);
    told = done;
    lock.lock();
    if (last) return;
    // Progress is told at the pace of polling, so that fast tiles do not queue for the caller.
    changed_.wait_for(lock, kPollEvery, [&] { return over(); });
  }
}

EnhanceReport Scheduler::run(const EnhanceObserver& observer) {
  std::vector<std::thread> workers;
  try {
    admit();
    const int count = std::max(1, std::min(host(plans_).threads(), window_));
    try {
      for (int i = 0; i < count; ++i) workers.emplace_back([this] { work(); });
    } catch (const std::system_error&) {  // the system gives no more: those that are there do
      if (workers.empty()) throw;
    }
    watch(observer);
  } catch (...) {
    const Lock lock(mutex_);
    stop(std::current_exception());
  }
  for (std::thread& worker : workers) worker.join();
  Lock lock(mutex_);
  if (in_flight_ > 0) {
    lock.unlock();
    for (const TilePlan& plan : plans_) {
      for (const auto& engine : plan.model->engines()) {
        static_cast<HostEngine&>(*engine).cancel(this);
      }
    }
    lock.lock();
    changed_.wait(lock, [&] { return in_flight_ == 0; });
  }
  // Taken out: a callback that still holds this scheduler must not be the last to free an error
  // that may belong to Python.
  if (const std::exception_ptr error = std::exchange(error_, nullptr)) {
    std::rethrow_exception(error);
  }
  return std::move(report_);
}

}  // namespace mdr
