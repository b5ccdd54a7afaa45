#include <memory>
#include <string>
#include <vector>

#include "claim.h"
#include "core/enhance.h"
#include "core/gpu_layout.h"
#include "fake_device.h"
#include "host_gpu_device.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

struct Run {
  std::vector<float> out;
  std::vector<uint8_t> gates;
  EnhanceReport report;
};

Run run(const std::shared_ptr<Device>& device, const EnhanceOptions& options = {},
        const EnhanceObserver& observer = {}) {
  const Model model(fake_bundle(), device, {});
  const std::vector<float> from = fake_volume();
  Run run;
  run.out.resize(from.size());
  run.gates.resize(3 * from.size());
  run.report = enhance(model, from.data(), kFakeShape, fake_boxes(), options, run.out.data(),
                       run.gates.data(), observer);
  return run;
}

Run on_cpu(const EnhanceOptions& options = {}, bool bfloat16 = false) {
  FakeSettings settings;
  settings.bfloat16 = bfloat16;
  return run(std::make_shared<FakeDevice>(settings), options);
}

std::shared_ptr<HostGpuDevice> gpu(HostGpuSettings settings = {}) {
  return std::make_shared<HostGpuDevice>(std::move(settings));
}

void same(const Run& found, const Run& expected) {
  check(found.out == expected.out, "the volume differs");
  check(found.gates == expected.gates, "the gates differ");
  equal(found.report.tiles, expected.report.tiles);
  equal(found.report.expert_calls, expected.report.expert_calls);
  equal(found.report.expert_calls_saved, expected.report.expert_calls_saved);
}

const Claim same_bits("the result has the bits of the CPU's, whatever the device does first", [] {
  const Run expected = on_cpu();
  check(expected.report.expert_calls_saved > 0, "no expert was ever skipped");
  for (uint32_t order = 0; order < 40; ++order) {
    HostGpuSettings settings;
    settings.order = order;
    settings.largest_batch = 1 << order % 5;
    settings.captures = order % 3 != 0;
    const auto device = gpu(settings);
    same(run(device), expected);
    equal(device->gpu().live(), 0);
    check(!HostGpu::in_use(), "the thread is left on the GPU");
    check(!device->gpu().spoiled(), "given back on another GPU, or with work under way");
  }
});

const Claim in_place("the output may take the input's place", [] {
  const Run expected = on_cpu();
  for (uint32_t order = 0; order < 10; ++order) {
    HostGpuSettings settings;
    settings.order = order;
    settings.largest_batch = 1 << order % 5;
    const Model model(fake_bundle(), gpu(settings), {});
    std::vector<float> volume = fake_volume();
    enhance(model, volume.data(), kFakeShape, fake_boxes(), {}, volume.data(), nullptr, {});
    check(volume == expected.out, "differs at order ", order);
  }
});

const Claim serial("experts that may not run side by side take turns, in shared scratch", [] {
  const Run expected = on_cpu();
  HostGpuSettings settings;
  settings.concurrent = false;
  for (uint32_t order = 0; order < 10; ++order) {
    settings.order = order;
    settings.captures = order % 2;
    same(run(gpu(settings)), expected);
  }
  const Model turns(fake_bundle(), gpu(settings), {});
  const GpuLayout layout = lay_out(turns, 2, 3, true);
  equal(layout.experts[1].scratch, layout.experts[0].scratch);
  const Model together(fake_bundle(), gpu(), {});
  check(layout.bytes < lay_out(together, 2, 3, true).bytes, "takes as much as side by side");
});

const Claim options("seeds, samplers, starts and thresholds mean the same as on the CPU", [] {
  std::vector<EnhanceOptions> all(5);
  all[0].seed = 7;
  all[1].method = "ddim";
  all[2].start = "noise";
  all[3].gate_threshold = 0;
  all[4].steps = 1;
  for (const EnhanceOptions& options : all) {
    for (uint32_t order = 0; order < 5; ++order) {
      HostGpuSettings settings;
      settings.order = order;
      same(run(gpu(settings), options), on_cpu(options));
    }
  }
});

const Claim halves("experts in bfloat16 read and write it in place, and the state stays float32",
                   [] {
                     for (const double threshold : {0.0, 0.2}) {
                       EnhanceOptions options;
                       options.gate_threshold = threshold;
                       const Run expected = on_cpu(options, true);
                       check(expected.out != on_cpu(options).out, "rounding changed nothing");
                       for (uint32_t order = 0; order < 10; ++order) {
                         HostGpuSettings settings;
                         settings.order = order;
                         settings.bfloat16 = true;
                         same(run(gpu(settings), options), expected);
                       }
                     }
                   });

const Claim graphs("a loop of a shape seen before is replayed, not queued again", [] {
  EnhanceOptions options;
  options.gate_threshold = 0;  // all batches have one shape
  HostGpuSettings settings;
  settings.largest_batch = 4;
  const auto device = gpu(settings);
  const Run found = run(device, options);
  const int batches = (found.report.tiles + 3) / 4;
  check(batches > 8, "too few batches to tell: ", batches);
  equal(device->gpu().captured(), kGpuLanes);
  // Each lane's first batch runs eagerly. The last one is smaller, but fills the same bucket.
  equal(batch_bucket(found.report.tiles % 4), 4);
  equal(device->gpu().launched(), batches - kGpuLanes);

  settings.captures = false;
  const auto eager = gpu(settings);
  same(run(eager, options), found);
  equal(eager->gpu().captured(), 0);
});

const Claim memory("a memory limit makes batches smaller, and is kept", [] {
  const auto free = gpu();
  const Run expected = run(free);
  const int64_t most = free->gpu().most_memory();
  HostGpuSettings settings;
  settings.memory_limit = most / 2;
  const auto tight = gpu(settings);
  same(run(tight), expected);
  check(tight->gpu().most_memory() <= most / 2, "took ", tight->gpu().most_memory());
  settings.memory_limit = 1000;
  throws<Error>("MB for one tile", [&] { run(gpu(settings)); });
});

const Claim asked_batch("a batch that is asked for is kept to", [] {
  EnhanceOptions options;
  options.batch = 2;
  const auto device = gpu();
  same(run(device, options), on_cpu());
  const auto large = gpu();
  run(large);
  check(device->gpu().most_memory() < large->gpu().most_memory(), "took as much as without");
  options.batch = 3;  // no power of two: the next smaller one is run
  const auto odd = gpu();
  same(run(odd, options), on_cpu());
  equal(odd->gpu().most_memory(), device->gpu().most_memory());
});

const Claim failing("an engine that fails ends the run, and leaves the device as it was", [] {
  for (const char* module : {"encoder", "gate", "expert_1", "decoder"}) {
    // The first calls are eager, later ones within a capture.
    for (int call = 1; call < 30; call += 3) {
      HostGpuSettings settings;
      settings.largest_batch = 1;
      settings.failing_module = module;
      settings.failing_call = call;
      const auto device = gpu(settings);
      try {
        run(device);
      } catch (const std::runtime_error& error) {
        equal(std::string(error.what()), std::string("broken"));
      }
      check(!device->gpu().capturing(), "still capturing");
      check(!HostGpu::in_use(), "the thread is left on the GPU");
      check(!device->gpu().spoiled(), "given back on another GPU, or with work under way");
      equal(device->gpu().live(), 0);
    }
  }
  HostGpuSettings settings;
  settings.failing_module = "expert_2";
  settings.failing_call = 2;
  throws<std::runtime_error>("broken", [&] { run(gpu(settings)); });
});

const Claim types("engines whose types do not fit together are refused by name", [] {
  for (const char* module : {"encoder", "conditioner", "gate", "expert_1", "decoder"}) {
    for (const bool bfloat16 : {false, true}) {
      HostGpuSettings settings;
      settings.odd_module = module;
      settings.bfloat16 = bfloat16;
      throws<Error>(text("of ", module, " in "), [&] { run(gpu(settings)); });
    }
  }
});

const Claim stops("what an observer throws ends the run and comes back", [] {
  const auto device = gpu();
  EnhanceObserver observer;
  int polls = 0;
  observer.poll = [&] {
    if (++polls == 3) throw std::runtime_error("asked to stop");
  };
  throws<std::runtime_error>("asked to stop", [&] { run(device, {}, observer); });
  equal(device->gpu().live(), 0);
  check(!device->gpu().spoiled(), "given back on another GPU, or with work under way");
});

const Claim progress("progress rises to the number of tiles", [] {
  int last = -1, all = 0;
  EnhanceObserver observer;
  observer.progress = [&](int done, int total) {
    check(done >= last, "progress fell");
    last = done;
    all = total;
  };
  const Run found = run(gpu(), {}, observer);
  equal(last, found.report.tiles);
  equal(all, found.report.tiles);
});

const Claim layout("what is in use at the same time does not overlap", [] {
  for (const bool bfloat16 : {false, true}) {
    HostGpuSettings settings;
    settings.bfloat16 = bfloat16;
    const Model model(fake_bundle(), gpu(settings), {});
    for (const int batch : {1, 2, 8}) {
      const GpuLayout layout = lay_out(model, batch, 3, true);
      std::vector<int64_t> starts;
      for (const GpuLayout::Lane& lane : layout.lanes) {
        starts.insert(starts.end(), {lane.slices, lane.z_low, lane.z_c, lane.gates, lane.origins,
                                     lane.slots, lane.image});
      }
      starts.insert(starts.end(), {layout.centre, layout.tokens, layout.z, layout.z0,
                                   layout.timesteps, layout.t});
      if (bfloat16) starts.push_back(layout.expert_z);
      for (const GpuLayout::Expert& expert : layout.experts) {
        starts.insert(starts.end(), {expert.z0, expert.z_t, expert.z_c, expert.scratch});
      }
      for (size_t i = 0; i < starts.size(); ++i) {
        equal(starts[i] % 256, int64_t{0});
        check(starts[i] >= 0 && starts[i] < layout.bytes, "lies outside");
        for (size_t k = 0; k < i; ++k) check(starts[i] != starts[k], "two at ", starts[i]);
      }
      check((layout.expert_z >= 0) == bfloat16, "expert_z where it is not needed, or none");
    }
    const GpuLayout one = lay_out(model, 1, 3, false), two = lay_out(model, 2, 3, false);
    check(one.experts[0].z_t == -1 && one.experts[0].z_c == -1, "rows that nothing needs");
    check(two.bytes > one.bytes, "a larger batch takes no more");
  }
});

}  // namespace
