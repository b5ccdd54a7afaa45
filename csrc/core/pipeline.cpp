#include "core/pipeline.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "core/average.h"
#include "core/consistency.h"
#include "core/error.h"
#include "core/flip.h"
#include "core/memory.h"
#include "core/noise_level.h"
#include "core/parallel.h"
#include "core/planes.h"
#include "core/prepare.h"
#include "core/resample.h"
#include "core/scan_checks.h"
#include "core/voxels.h"

namespace mdr {
namespace {

constexpr int kMaxSamples = 1000;

int checked_threads(const Model& model, int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    fail(ErrorKind::input, "expected from 0 (those of the model) to ", kMaxThreads,
         " threads, got ", threads, "; give the number of cores");
  }
  return threads > 0 ? threads : model.device().threads();
}

void check_samples(int samples) {
  if (samples >= 1 && samples <= kMaxSamples) return;
  fail(ErrorKind::input, "expected from 1 to ", kMaxSamples, " samples, got ", samples,
       "; give 1 for one result, more for their average");
}

void check_planes(int planes) {
  if (planes >= 0 && planes <= kMostPlanes) return;
  fail(ErrorKind::input, "expected from 1 to ", kMostPlanes, " planes, or 0 for the bundle's own ",
       "number, got ", planes,
       "; a volume has three axes: give 1 for the fastest result, 3 for slices along each");
}

void check_profile(double width) {
  if (width == -1 || (width >= 0 && width <= kWidestProfile)) return;
  fail(ErrorKind::input, "expected a slice profile of up to ", kWidestProfile,
       " slice distances, 0 for the scan's own or -1 for none, got ", width,
       "; is it in mm? Give what the report of the whole scan says");
}

void check_given(const char* what, double value) {
  if (std::isfinite(value) && value >= 0) return;
  fail(ErrorKind::input, "expected ", what, " above zero, or 0 for the scan's own, got ", value,
       "; give what the report of another slab says");
}

// Wall time by stage, each from lap to lap, in the order in which stages are first seen.
class Laps {
 public:
  void lap(const std::string& stage) {
    const auto now = Clock::now();
    add(stage, std::chrono::duration<double>(now - last_).count());
    last_ = now;
  }

  void add(const std::string& stage, double seconds) {
    const auto known = std::find_if(laps_.begin(), laps_.end(),
                                    [&](const auto& lap) { return lap.first == stage; });
    if (known != laps_.end()) {
      known->second += seconds;
    } else {
      laps_.emplace_back(stage, seconds);
    }
  }

  const std::vector<std::pair<std::string, double>>& all() const { return laps_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
  std::vector<std::pair<std::string, double>> laps_;
};

// One run: the scan prepared, then sampled as often as asked.
class Run {
 public:
  Run(const Model& model, const float* scan, const VolumeShape& shape, PipelineOptions options,
      const PipelineOutput& out, const EnhanceObserver& observer, int threads)
      : model_(model),
        scan_(scan),
        shape_(shape),
        options_(std::move(options)),
        out_(out),
        observer_(observer),
        threads_(threads),
        parallel_(threads, observer.poll) {}

  void prepare_scan(const std::array<double, 3>& spacing_mm) {
    check_scan(parallel_, scan_, shape_);
    const Bundle& bundle = model_.bundle();
    const VolumeShape output = output_shape(bundle, shape_, spacing_mm, options_.output_spacing_mm);
    report_.output = output;
    report_.planes = choose_planes(bundle, spacing_mm, output, options_.planes);
    if (options_.memory_limit > 0 && dynamic_cast<const HostDevice*>(&model_.device())) {
      options_.sampling.batch = tiles_within(options_.memory_limit, model_, shape_, output,
                                             spacing_mm, options_, report_.planes, out_, threads_);
    }
    report_.spacing_mm = {spacing_mm[0] * shape_.nz / output.nz,
                          spacing_mm[1] * shape_.ny / output.ny,
                          spacing_mm[2] * shape_.nx / output.nx};
    report_.steps = options_.sampling.steps > 0 ? options_.sampling.steps : bundle.sampler.steps;
    Prepared ready = prepare(parallel_, scan_, shape_, spacing_mm, bundle.percentile,
                             bundle.intensity_value, options_.intensity_level);
    scale_ = ready.scale;
    report_.intensity_level = scale_ * bundle.intensity_value;
    sigma_ = options_.noise_sigma > 0
                 ? options_.noise_sigma / scale_
                 : noise_sigma(parallel_, ready.measured.data(), shape_, ready.foreground);
    report_.noise_sigma = sigma_ * scale_;
    find_profile(ready.measured.data(), spacing_mm);
    // Of one sample the result takes the place of what it is made from, slice by slice.
    if (options_.samples > 1) volume_ = Voxels(output);
    interpolate(parallel_, ready.measured.data(), shape_, interpolated(), output);
    foreground_ = std::move(ready.foreground);
    laps_.lap("prepare");
  }

  PipelineReport sample_all() {
    const int samples = options_.samples;
    for (int number = 0; number < std::min(samples, kFlips); ++number) {
      boxes_.push_back(boxes_in_planes(foreground_, report_.output,
                                       flip_of_sample(number, report_.planes.front()),
                                       report_.planes));
      const int alike = (samples - number + kFlips - 1) / kFlips;
      all_tiles_ +=
          alike * count_tiles_in_planes(model_, report_.output, report_.planes, boxes_.back());
    }
    Average average(report_.output.voxels(), out_.volume, out_.deviation);
    sample(0, out_.volume);
    for (int number = 1; number < samples; ++number) {
      if (number == 1) another_ = Voxels(report_.output);
      sample(number, another_.data());
      average.add(parallel_, another_.data());
    }
    average.finish(parallel_, static_cast<float>(scale_));
    laps_.lap("consistency");
    report_.seconds = laps_.all();
    return report_;
  }

 private:
  void find_profile(const float* measured, const std::array<double, 3>& spacing_mm) {
    if (!options_.data_consistency) return;
    if (options_.slice_profile != 0) {
      profile_ = {coarsest_axis(spacing_mm), std::max(0.0, options_.slice_profile)};
    } else {
      profile_ = find_slice_profile(parallel_, measured, shape_, spacing_mm, sigma_);
    }
    report_.slice_profile = profile_.width > 0 ? profile_.width : -1;
  }

  void sample(int number, float* result) {
    EnhanceOptions sampling = options_.sampling;
    sampling.seed += static_cast<uint64_t>(number);
    const Flip flip = flip_of_sample(number, report_.planes.front());
    flip_volume(parallel_, interpolated(), report_.output, flip);
    const EnhanceReport run = enhance_in_planes(
        model_, parallel_, interpolated(), report_.output, report_.planes, boxes_[number % kFlips],
        sampling, result, number == 0 ? out_.gates : nullptr, watching());
    flip_volume(parallel_, result, report_.output, flip);
    if (number < options_.samples - 1) {
      flip_volume(parallel_, interpolated(), report_.output, flip);
    } else {
      volume_.release();  // as large as the result: let it go before the next stage
    }
    count(run);
    if (!options_.data_consistency) return;
    // Made again, so that it takes no memory beside the model.
    const Voxels measured = in_model_unit(parallel_, scan_, shape_, scale_);
    const double correction =
        scale_ * enforce_consistency(parallel_, result, report_.output, measured.data(), shape_,
                                     sigma_, kKappa, profile_);
    report_.largest_correction = std::max(report_.largest_correction.value_or(0), correction);
    laps_.lap("consistency");
  }

  // Progress of all samples and planes, each number of tiles told once.
  EnhanceObserver watching() {
    EnhanceObserver watching = observer_;
    if (!observer_.progress) return watching;
    watching.progress = [this](int done, int) {
      if (report_.tiles + done <= told_) return;  // a plane begins where the last one ended
      told_ = report_.tiles + done;
      observer_.progress(told_, all_tiles_);
    };
    return watching;
  }

  float* interpolated() { return options_.samples > 1 ? volume_.data() : out_.volume; }

  void count(const EnhanceReport& run) {
    report_.tile_sizes = run.tile_sizes;
    report_.tiles += run.tiles;
    report_.expert_calls += run.expert_calls;
    report_.expert_calls_saved += run.expert_calls_saved;
    laps_.lap("model");
    for (const auto& [stage, seconds] : run.seconds) laps_.add("model." + stage, seconds);
  }

  const Model& model_;
  const float* scan_;
  const VolumeShape shape_;
  PipelineOptions options_;
  const PipelineOutput& out_;
  const EnhanceObserver& observer_;
  const int threads_;
  Parallel parallel_;
  Voxels volume_;  // with several samples: interpolated, in the model's unit, like sigma_
  Foreground foreground_;
  double scale_ = 0, sigma_ = 0;
  SliceProfile profile_;
  Voxels another_;                                    // a sample after the first
  std::vector<std::vector<std::vector<Box>>> boxes_;  // of each flip, in each plane
  int all_tiles_ = 0, told_ = -1;
  Laps laps_;
  PipelineReport report_;
};

}  // namespace

PipelineReport enhance_scan(const Model& model, const float* scan, const VolumeShape& shape,
                            const std::array<double, 3>& spacing_mm, const PipelineOptions& options,
                            const PipelineOutput& out, const EnhanceObserver& observer,
                            int threads) {
  check_samples(options.samples);
  check_planes(options.planes);
  check_given("an intensity level", options.intensity_level);
  check_given("a noise standard deviation", options.noise_sigma);
  check_profile(options.slice_profile);
  check_options(model, options.sampling);
  Run run(model, scan, shape, options, out, observer, checked_threads(model, threads));
  run.prepare_scan(spacing_mm);
  return run.sample_all();
}

}  // namespace mdr
