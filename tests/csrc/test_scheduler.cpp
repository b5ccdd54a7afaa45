#include <memory>
#include <thread>
#include <vector>

#include "claim.h"
#include "core/enhance.h"
#include "fake_device.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

struct Run {
  std::vector<float> out;
  EnhanceReport report;
  std::shared_ptr<FakeDevice> device;
};

Run run(const FakeSettings& settings, int batch, const EnhanceObserver& observer = {},
        double gate_threshold = -1) {
  Run run;
  run.device = std::make_shared<FakeDevice>(settings);
  const Model model(fake_bundle(), run.device, {});
  const std::vector<float> from = fake_volume();
  run.out.resize(from.size());
  EnhanceOptions options;
  options.batch = batch;
  options.gate_threshold = gate_threshold;
  run.report = enhance(model, from.data(), kFakeShape, fake_boxes(), options, run.out.data(),
                       nullptr, observer);
  return run;
}

const Claim same_bits("the result is the same bits however tiles are grouped into requests", [] {
  const Run expected = run({1, 1, "", ""}, 1);
  check(expected.report.expert_calls_saved > 0, "no expert was ever skipped");
  for (const int tiles_per_request : {1, 2, 4, 16}) {
    for (const int batch : {1, 3, 8, 100}) {
      const Run found = run({tiles_per_request, 3, "", ""}, batch);
      check(found.out == expected.out, "differs at ", tiles_per_request, " and batch ", batch);
      equal(found.report.tiles, expected.report.tiles);
      equal(found.report.expert_calls, expected.report.expert_calls);
      equal(found.report.expert_calls_saved, expected.report.expert_calls_saved);
    }
  }
});

const Claim in_place("the output may take the input's place", [] {
  const Run expected = run({1, 1, "", ""}, 1);
  for (const int tiles_per_request : {1, 2, 4}) {
    for (const int batch : {1, 3, 8, 100}) {
      const Model model(fake_bundle(),
                        std::make_shared<FakeDevice>(FakeSettings{tiles_per_request, 3, "", ""}),
                        {});
      std::vector<float> volume = fake_volume();
      EnhanceOptions options;
      options.batch = batch;
      enhance(model, volume.data(), kFakeShape, fake_boxes(), options, volume.data(), nullptr, {});
      check(volume == expected.out, "differs at ", tiles_per_request, " and batch ", batch);
    }
  }
});

const Claim bounded("requests under way and their batches stay within the device's limits", [] {
  const Run found = run({4, 2, "", ""}, 12);
  check(found.device->counts().most <= 2, "found ", found.device->counts().most);
  equal(found.device->counts().largest_batch.load(), 4);
});

const Claim together("the experts of one tile are under way at once", [] {
  // One tile at a time, no expert skipped: no expert's request can end before all three started.
  const Run found = run({1, 3, "", "", false, 3}, 1, {}, 0);
  check(!found.device->experts_missed(), "an expert's request waited in vain for the others");
});

const Claim failing("a request that fails ends the run with its error", [] {
  for (const char* module : {"encoder", "gate", "expert_1", "decoder"}) {
    throws<std::runtime_error>("broken", [&] { run({2, 3, module, ""}, 8); });
    throws<std::runtime_error>("refused", [&] { run({2, 3, "", module}, 8); });
  }
});

const Claim stops("what an observer throws ends the run and comes back", [] {
  EnhanceObserver observer;
  observer.poll = [] { throw std::runtime_error("asked to stop"); };
  throws<std::runtime_error>("asked to stop", [&] { run({1, 3, "", ""}, 8, observer); });
  observer = {};
  observer.progress = [](int done, int total) {
    if (done == total) throw std::runtime_error("at the end");
  };
  throws<std::runtime_error>("at the end", [&] { run({1, 3, "", ""}, 8, observer); });
});

const Claim owner("an observer's exception is freed on the thread that called", [] {
  struct Mine {
    std::shared_ptr<int> mark;
  };
  for (int i = 0; i < 20; ++i) {
    std::thread::id freed_on;
    EnhanceObserver observer;
    observer.progress = [&](int done, int) {
      if (done == 0) return;
      throw Mine{std::shared_ptr<int>(new int(0), [&](int* mark) {
        freed_on = std::this_thread::get_id();
        delete mark;
      })};
    };
    try {
      run({1, 3, "", ""}, 8, observer);
      check(false, "nothing thrown");
    } catch (const Mine&) {
    }
    check(freed_on == std::this_thread::get_id(), "freed on another thread");
  }
});

const Claim progress("progress ends at the number of tiles", [] {
  int last = -1, all = 0;
  EnhanceObserver observer;
  observer.progress = [&](int done, int total) {
    check(done >= last, "progress fell");
    last = done;
    all = total;
  };
  const Run found = run({1, 3, "", ""}, 8, observer);
  equal(last, found.report.tiles);
  equal(all, found.report.tiles);
});

}  // namespace
