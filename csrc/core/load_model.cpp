#include "core/load_model.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/poll.h"

namespace mdr {
namespace {

struct CallerLeft {};

// Shared by the caller and the loading thread; the last of them frees it.
struct Load {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<EngineReport> report;  // waits for the caller
  bool left = false, done = false;
  std::shared_ptr<Model> model;
  std::exception_ptr error;

  // On the loading thread: returns once the caller has taken the report.
  void tell(const EngineReport& engine) {
    std::unique_lock<std::mutex> lock(mutex);
    report = engine;
    changed.notify_all();
    changed.wait(lock, [&] { return left || !report; });
    if (left) throw CallerLeft();
  }

  // On the caller's thread.
  void watch(const Model::OnEngine& on_engine, const std::function<void()>& poll) {
    std::unique_lock<std::mutex> lock(mutex);
    while (!done) {
      changed.wait_for(lock, kPollEvery, [&] { return done || report; });
      const std::optional<EngineReport> engine = report;
      lock.unlock();
      if (poll) poll();
      if (engine && on_engine) on_engine(*engine);
      lock.lock();
      if (engine) report.reset();
      changed.notify_all();
    }
  }

  void leave() {
    const std::lock_guard<std::mutex> lock(mutex);
    left = true;
    changed.notify_all();
  }

  bool over() {
    const std::lock_guard<std::mutex> lock(mutex);
    return done;
  }
};

struct LeftLoad {
  std::shared_ptr<Load> load;
  std::thread thread;
};

std::mutex left_mutex;
std::vector<LeftLoad> left_loads;

void leave_behind(LeftLoad left) {
  // From now on, so that it runs before what the backends registered to take themselves down.
  static const int registered = std::atexit(join_left_loads);
  static_cast<void>(registered);
  const std::lock_guard<std::mutex> lock(left_mutex);
  const auto over = std::partition(left_loads.begin(), left_loads.end(),
                                   [](const LeftLoad& one) { return !one.load->over(); });
  std::for_each(over, left_loads.end(), [](LeftLoad& one) { one.thread.join(); });
  left_loads.erase(over, left_loads.end());
  left_loads.push_back(std::move(left));
}

}  // namespace

std::shared_ptr<Model> load_model(const Bundle& bundle,
                                  std::function<std::shared_ptr<Device>()> open,
                                  const Model::OnEngine& on_engine,
                                  const std::function<void()>& poll) {
  const auto load = std::make_shared<Load>();
  std::thread thread([load, bundle, open = std::move(open)] {
    std::shared_ptr<Model> model;
    std::exception_ptr error;
    try {
      model = std::make_shared<Model>(bundle, open(),
                                      [&](const EngineReport& engine) { load->tell(engine); });
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard<std::mutex> lock(load->mutex);
    load->model = std::move(model);
    load->error = std::move(error);
    load->done = true;
    load->changed.notify_all();
  });
  try {
    load->watch(on_engine, poll);
  } catch (...) {
    load->leave();
    leave_behind({load, std::move(thread)});
    throw;
  }
  thread.join();
  if (load->error) std::rethrow_exception(std::exchange(load->error, nullptr));
  return std::move(load->model);
}

void join_left_loads() {
  std::vector<LeftLoad> loads;
  {
    const std::lock_guard<std::mutex> lock(left_mutex);
    loads.swap(left_loads);
  }
  for (LeftLoad& left : loads) left.thread.join();
}

}  // namespace mdr
