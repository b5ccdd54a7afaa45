#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "claim.h"
#include "core/pipeline.h"
#include "core/planes.h"
#include "fake_device.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

constexpr VolumeShape kScan{9, 20, 18};
constexpr std::array<double, 3> kSpacing{2, 2, 2};

Bundle bundle() {
  Bundle bundle = fake_bundle();
  bundle.percentile = 99.5;
  bundle.intensity_value = 1;
  bundle.output_min_mm = 0.5;
  bundle.output_max_mm = 1.25;
  bundle.input_min_mm = 0.5;
  bundle.input_max_mm = 5;
  return bundle;
}

Model model() { return Model(bundle(), std::make_shared<FakeDevice>(FakeSettings{}), {}); }

// A bright ball in dim air.
std::vector<float> scan() {
  std::vector<float> voxels;
  for (int z = 0; z < kScan.nz; ++z) {
    for (int y = 0; y < kScan.ny; ++y) {
      for (int x = 0; x < kScan.nx; ++x) {
        const double r = std::hypot(z / 4.0 - 1, y / 9.5 - 1, x / 8.5 - 1);
        const double texture = std::sin(3.0 * x) * std::cos(2.0 * y + z);
        voxels.push_back(static_cast<float>(r < 0.8 ? 700 + 50 * texture : 4 + texture));
      }
    }
  }
  return voxels;
}

struct Result {
  std::vector<float> volume, deviation;
  std::vector<uint8_t> gates;
  PipelineReport report;
};

Result enhance_whole(const PipelineOptions& options, int threads = 0,
                     const EnhanceObserver& observer = {}) {
  const Model fake = model();
  const std::vector<float> voxels = scan();
  const VolumeShape to = output_shape(fake.bundle(), kScan, kSpacing, options.output_spacing_mm);
  Result result;
  result.volume.assign(to.voxels(), -1);
  result.deviation.assign(to.voxels(), -1);
  result.gates.assign(fake.bundle().experts * to.voxels(), 1);
  const PipelineOutput out{result.volume.data(), result.gates.data(), result.deviation.data()};
  result.report =
      enhance_scan(fake, voxels.data(), kScan, kSpacing, options, out, observer, threads);
  return result;
}

PipelineOptions samples_of(int samples, int planes = 1) {
  PipelineOptions options;
  options.samples = samples;
  options.planes = planes;
  return options;
}

const Claim same_bits("the result is the same bits for any number of threads", [] {
  const Result expected = enhance_whole(samples_of(2), 1);
  for (const int threads : {0, 2, 5}) {
    const Result found = enhance_whole(samples_of(2), threads);
    check(found.volume == expected.volume, "volume differs on ", threads);
    check(found.deviation == expected.deviation, "deviation differs on ", threads);
    check(found.gates == expected.gates, "gates differ on ", threads);
    equal(found.report.noise_sigma, expected.report.noise_sigma);
    equal(found.report.slice_profile, expected.report.slice_profile);
    equal(*found.report.largest_correction, *expected.report.largest_correction);
  }
});

const Claim same_planes("and so it is of several planes", [] {
  const Result expected = enhance_whole(samples_of(1, 3), 1);
  check(enhance_whole(samples_of(1, 3), 5).volume == expected.volume, "volume differs");
});

const Claim report("the report says what the result is", [] {
  PipelineOptions options;
  options.output_spacing_mm = 1.2;
  options.data_consistency = false;
  const Result found = enhance_whole(options);
  equal(found.report.output.nz, 15);
  equal(found.report.output.ny, 33);
  equal(found.report.output.nx, 30);
  equal(found.report.spacing_mm[0], 2.0 * 9 / 15);
  equal(found.report.steps, 3);
  equal(found.report.largest_correction.has_value(), false);
  check(found.report.tiles > 0 && found.report.noise_sigma > 0, "nothing was counted");
  check(found.report.seconds.front().first == "prepare", "the first stage is another");
  for (const float value : found.deviation) equal(value, 0.0f);
  for (const float value : found.volume) check(std::isfinite(value), "found ", value);
});

const Claim optional("gates and deviation may be left out, with the same result", [] {
  const Model fake = model();
  const std::vector<float> voxels = scan();
  const Result expected = enhance_whole(samples_of(2));
  std::vector<float> volume(expected.volume.size());
  enhance_scan(fake, voxels.data(), kScan, kSpacing, samples_of(2), {volume.data()}, {});
  equal(volume == expected.volume, true);
});

const Claim planes("a bundle's own planes are the default, and each counts", [] {
  Bundle two = bundle();
  two.sampler.planes = 2;
  const Model fake(two, std::make_shared<FakeDevice>(FakeSettings{}), {});
  const std::vector<float> voxels = scan();
  const Result asked = enhance_whole(samples_of(1, 2));
  std::vector<float> volume(asked.volume.size());
  int last = -1, all = 0;
  EnhanceObserver observer;
  observer.progress = [&](int done, int total) {
    check(done > last, "went back from ", last, " to ", done);
    last = done;
    all = total;
  };
  const PipelineReport report =
      enhance_scan(fake, voxels.data(), kScan, kSpacing, {}, {volume.data()}, observer);
  check(report.planes == std::vector<int>{0, 1}, "other planes");
  equal(last, report.tiles);
  equal(all, report.tiles);
  equal(volume == asked.volume, true);
  equal(report.tiles, asked.report.tiles);
  const Result one = enhance_whole(samples_of(1));
  check(one.report.planes == std::vector<int>{0}, "more than one plane");
  check(one.report.tiles < report.tiles, "the second plane has no tiles");
  check(one.volume != volume, "the second plane changes nothing");
});

using Planes = std::vector<int>;

const Claim chosen("planes are chosen by the scan's edges and the result's size", [] {
  Bundle three = bundle();
  three.sampler.planes = 3;
  const VolumeShape large{36, 40, 30};
  const auto of = [&](const std::array<double, 3>& edges, int asked) {
    return choose_planes(three, edges, large, asked);
  };
  check(of({2, 2, 2}, 0) == Planes{0, 1, 2}, "alike");
  check(of({2, 2.01, 2}, 0) == Planes{0, 1, 2}, "as good as alike");
  check(of({1, 1, 1.15}, 0) == Planes{2, 0, 1}, "the coarsest first");
  check(of({1, 1, 1.25}, 0) == Planes{2}, "the coarsest alone");
  check(of({1, 3, 1}, 2) == Planes{1, 0}, "as many as asked for");
  check(of({1, 2, 3}, 3) == Planes{2, 1, 0}, "in their order");
  three.sampler.planes = 2;
  check(of({2, 2, 2}, 0) == Planes{0, 1}, "as many as the bundle says");
  three.sampler.planes = 3;
  // Half of the smallest tile is 4.
  check(choose_planes(three, {2, 2, 2}, {4, 40, 36}, 0) == Planes{0, 1, 2}, "just large enough");
  check(choose_planes(three, {2, 2, 2}, {3, 40, 36}, 0) == Planes{0}, "a slab");
  check(choose_planes(three, {2, 2, 2}, {3, 40, 36}, 2) == Planes{0, 1}, "a slab, as asked for");
  check(choose_planes(three, {1, 1, 1.25}, {3, 40, 36}, 0) == Planes{0},
        "a slab of sagittal slices");
  check(choose_planes(three, {2, 2, 2}, {40, 3, 36}, 0) == Planes{1}, "a coronal slab");
  check(choose_planes(three, {2, 2, 2}, {3, 3, 3}, 0) == Planes{0}, "next to nothing");
});

const Claim observed("progress counts all samples and is told on the calling thread", [] {
  const std::thread::id caller = std::this_thread::get_id();
  int last = -1, all = 0;
  EnhanceObserver observer;
  observer.progress = [&](int done, int total) {
    equal(std::this_thread::get_id() == caller, true);
    check(done > last, "went from ", last, " to ", done);
    last = done;
    all = total;
  };
  const Result found = enhance_whole(samples_of(2), 3, observer);
  equal(last, found.report.tiles);
  equal(all, found.report.tiles);
});

const Claim stopped("what the observer throws stops the run", [] {
  EnhanceObserver observer;
  observer.poll = [] { fail(ErrorKind::cancelled, "asked to stop"); };
  throws<Error>("asked to stop", [&] { enhance_whole(samples_of(1), 2, observer); });
});

void refused(const std::string& words, const std::vector<float>& voxels, const VolumeShape& shape,
             const std::array<double, 3>& spacing, const PipelineOptions& options, int threads) {
  const Model fake = model();
  std::vector<float> out(36 * 40 * 40, -7);
  throws<Error>(words, [&] {
    enhance_scan(fake, voxels.data(), shape, spacing, options, {out.data()}, {}, threads);
  });
  for (const float value : out) equal(value, -7.0f);
}

std::vector<float> scan_with(float odd, int count = 1) {
  std::vector<float> voxels = scan();
  std::fill_n(voxels.begin(), count, odd);
  return voxels;
}

const Claim out_of_range("fill values are refused: one would spread over the whole result", [] {
  const float most = std::numeric_limits<float>::max();
  PipelineOptions given;
  given.intensity_level = 700;
  for (const float odd : {-most, most, 9.97e36f, -1e20f, 1e20f, -1e10f}) {
    refused("times the level of bright tissue", scan_with(odd), kScan, kSpacing, {}, 1);
    refused("times the level of bright tissue", scan_with(odd), kScan, kSpacing, given, 1);
  }
  // So many that they are what is bright.
  refused("bright tissue from 1e-30 to 1e+18, found 9.97e+36", scan_with(9.97e36f, 360), kScan,
          kSpacing, {}, 1);
  std::vector<float> faint = scan();
  for (float& value : faint) value *= 1e-42f;
  refused("bright tissue from 1e-30", faint, kScan, kSpacing, {}, 1);
  given.intensity_level = 1e-300;
  refused("bright tissue from 1e-30", scan(), kScan, kSpacing, given, 1);
});

const Claim in_range("padding below zero and bright artefacts are taken, in any unit", [] {
  const Model fake = model();
  const std::pair<float, float> kinds[] = {{1e-12f, -2000}, {1, -32768}, {1e9f, 1e6f}};
  for (const auto& [unit, odd] : kinds) {
    std::vector<float> voxels = scan_with(odd);
    for (float& value : voxels) value *= unit;
    std::vector<float> out(18 * 40 * 36);
    enhance_scan(fake, voxels.data(), kScan, kSpacing, {}, {out.data()}, {});
    for (const float value : out) check(std::isfinite(value), "found ", value);
  }
});

const Claim refusals("what cannot be enhanced is refused before anything is written", [] {
  const PipelineOptions plain;
  std::vector<float> holed = scan();
  holed[77] = std::numeric_limits<float>::quiet_NaN();
  refused("found 1 NaN or infinite of 3240", holed, kScan, kSpacing, plain, 2);
  std::vector<float> dark = scan();
  for (float& value : dark) value = -value;
  refused("above zero", dark, kScan, kSpacing, plain, 1);
  refused("all voxels are 5", std::vector<float>(kScan.voxels(), 5), kScan, kSpacing, plain, 1);
  refused("at least 8 voxels", scan(), {7, 20, 18}, kSpacing, plain, 1);
  refused("at least 8 voxels", scan(), {9, -20, 18}, kSpacing, plain, 1);
  refused("at most 1500000000 voxels", scan(), {8192, 8192, 23}, kSpacing, plain, 1);
  refused("at most 8192 voxels along each axis of the scan", scan(), {8193, 9, 20}, kSpacing, plain,
          1);
  refused("at most 8192", scan(), {9, 20, std::numeric_limits<int>::max()}, kSpacing, plain, 1);
  refused("above zero", scan(), kScan, {2, 0, 2}, plain, 1);
  refused("expected input voxels", scan(), kScan, {2, 2, 6}, plain, 1);
  refused("expected from 1 to 1000 samples", scan(), kScan, kSpacing, samples_of(0), 1);
  refused("1024 threads, got 1025", scan(), kScan, kSpacing, plain, 1025);
  PipelineOptions fine;
  fine.output_spacing_mm = 0.1;
  refused("output spacing from 0.5 to 1.25", scan(), kScan, kSpacing, fine, 1);
  PipelineOptions steps;
  steps.sampling.steps = 1000;
  refused("steps", scan(), kScan, kSpacing, steps, 1);
});

}  // namespace
