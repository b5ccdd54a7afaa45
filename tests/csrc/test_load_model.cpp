#include "core/load_model.h"

#include <future>
#include <string>
#include <vector>

#include "claim.h"
#include "fake_device.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

std::function<std::shared_ptr<Device>()> opens(std::function<void()> on_load, int at_once = 1) {
  FakeSettings settings;
  settings.loads_at_once = at_once;
  settings.on_load = std::move(on_load);
  return [settings] { return std::make_shared<FakeDevice>(settings); };
}

const Claim order("each engine is told in order on the caller's thread, before the next", [] {
  std::atomic<int> loaded{0};
  std::vector<std::string> told;
  const std::thread::id caller = std::this_thread::get_id();
  const auto on_engine = [&](const EngineReport& report) {
    check(std::this_thread::get_id() == caller, "told on another thread");
    told.push_back(report.module);
    equal(loaded.load(), static_cast<int>(told.size()));
  };
  const auto model = load_model(fake_bundle(), opens([&] { ++loaded; }), on_engine, [] {});
  equal(told.size(), 7u);
  equal(told.front(), "encoder");
  equal(model->reports().size(), 7u);
});

const Claim together("two engines at once where the device can, told on the caller's thread", [] {
  Meeting first_two(2);
  std::atomic<int> loads{0};
  std::vector<std::string> told;
  const std::thread::id caller = std::this_thread::get_id();
  const auto on_engine = [&](const EngineReport& report) {
    check(std::this_thread::get_id() == caller, "told on another thread");
    told.push_back(report.module);
  };
  const auto begin = [&] {
    if (loads++ < 2) first_two.attend();
  };
  const auto model = load_model(fake_bundle(), opens(begin, 2), on_engine, [] {});
  check(!first_two.missed(), "one after the other");
  equal(told.size(), 7u);
  equal(model->reports().front().module, "encoder");
  equal(model->reports().back().module, "decoder");
});

const Claim both_left("what an observer throws leaves both engines under way behind", [] {
  Meeting first_two(2);
  std::atomic<int> loaded{0};
  int told = 0;
  const auto refuse = [&](const EngineReport&) {
    ++told;
    throw std::runtime_error("refused");
  };
  const auto begin = [&] {
    first_two.attend();
    ++loaded;
  };
  throws<std::runtime_error>("refused",
                             [&] { load_model(fake_bundle(), opens(begin, 2), refuse, [] {}); });
  join_left_loads();
  equal(loaded.load(), 2);
  equal(told, 1);
});

const Claim leaves("what poll throws comes back while an engine is still under way", [] {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> loaded{0};
  const auto wait = [&loaded, released] {
    released.wait();
    ++loaded;
  };
  const auto stop = [] { throw std::runtime_error("asked to stop"); };
  throws<std::runtime_error>("asked to stop",
                             [&] { load_model(fake_bundle(), opens(wait), {}, stop); });
  equal(loaded.load(), 0);
  release.set_value();
  join_left_loads();
  equal(loaded.load(), 1);
});

const Claim refused("what an observer throws ends the load after the engine told", [] {
  std::atomic<int> loaded{0};
  const auto refuse = [](const EngineReport& report) { throw std::runtime_error(report.module); };
  throws<std::runtime_error>(
      "encoder", [&] { load_model(fake_bundle(), opens([&] { ++loaded; }), refuse, [] {}); });
  join_left_loads();
  equal(loaded.load(), 1);
});

const Claim broken("a failure of the device comes back to the caller", [] {
  const auto fails = [] { throw std::runtime_error("no device"); };
  throws<std::runtime_error>("no device", [&] {
    load_model(fake_bundle(), opens(fails), [](const EngineReport&) {}, [] {});
  });
});

}  // namespace
