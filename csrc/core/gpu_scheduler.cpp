#include "core/gpu_scheduler.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/dispatch.h"
#include "core/error.h"

namespace mdr {
namespace {

using Clock = std::chrono::steady_clock;

// Graphs take device memory that no layout knows of; loops of rarer shapes stay eager.
constexpr size_t kMostGraphs = 32;

// Adds the time of its scope to a stage.
class Stage {
 public:
  Stage(EnhanceReport& report, const char* name) : seconds_(report.seconds[name]) {}
  ~Stage() { seconds_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  double& seconds_;
  const Clock::time_point begin_ = Clock::now();
};

GpuEngine& on_gpu(Engine& engine) { return static_cast<GpuEngine&>(engine); }

GpuLayout layout_of(const TilePlan& plan, size_t tiles, int batch) {
  const auto& device = static_cast<const GpuDevice&>(plan.model->device());
  // The largest bucket that is not above `batch`.
  const int limit = batch > 0 ? batch_bucket(batch / 2 + 1) : device.largest_batch();
  const int most = static_cast<int>(std::clamp<size_t>(tiles, 1, limit));
  return fit_layout(*plan.model, most, static_cast<int>(plan.timesteps.size()),
                    plan.gate_threshold > 0, device.memory_limit());
}

}  // namespace

GpuScheduler::GpuScheduler(const TilePlan& plan, std::vector<Tile> tiles, int batch,
                           SliceBlend& blend)
    : plan_(plan),
      bundle_(plan.model->bundle()),
      device_(static_cast<const GpuDevice&>(plan.model->device())),
      gpu_(device_.gpu()),
      use_(gpu_),
      tiles_(std::move(tiles)),
      blend_(blend),
      layout_(layout_of(plan, tiles_.size(), batch)),
      image_size_(int64_t{bundle_.tile_height} * bundle_.tile_width),
      slices_size_(bundle_.tile_slices * image_size_),
      latent_size_(int64_t{bundle_.latent_channels} * bundle_.latent_height * bundle_.latent_width),
      condition_size_(int64_t{bundle_.condition_channels} * bundle_.latent_height *
                      bundle_.latent_width),
      gate_size_(int64_t{bundle_.experts} * bundle_.gate_height * bundle_.gate_width),
      expert_type_(on_gpu(plan.model->expert(0)).input_types()[0]),
      memory_(gpu_, gpu_.allocate(layout_.bytes)),
      main_(gpu_, gpu_.make_stream(false)),
      upload_(gpu_, gpu_.make_stream(false)),
      download_(gpu_, gpu_.make_stream(false)),
      forked_(gpu_, gpu_.make_event()) {
  for (int i = 0; device_.concurrent() && i < bundle_.experts; ++i) {
    expert_streams_.emplace_back(gpu_, gpu_.make_stream(true));
    joined_.emplace_back(gpu_, gpu_.make_event());
  }
  const auto pinned = [&](int64_t bytes) {
    return PinnedMemory(gpu_, gpu_.allocate_pinned(layout_.batch * bytes));
  };
  const auto event = [&] { return GpuEventHandle(gpu_, gpu_.make_event()); };
  constexpr int64_t kFloat = sizeof(float);
  for (int i = 0; i < std::min(kGpuLanes, batches()); ++i) {
    lanes_.push_back({pinned(slices_size_ * kFloat),
                      pinned(gate_size_ * kFloat),
                      pinned(sizeof(NoiseOrigin)),
                      pinned(bundle_.experts * sizeof(int)),
                      pinned(image_size_ * kFloat),
                      {},
                      {},
                      event(),
                      event(),
                      event(),
                      event()});
  }
  const auto steps = static_cast<int64_t>(plan_.timesteps.size());
  timesteps_ = PinnedMemory(gpu_, gpu_.allocate_pinned(steps * layout_.timestep_stride * kFloat));
  for (const char* stage : {"read", "plan", "wait", "blend"}) report_.seconds[stage] = 0;
}

GpuScheduler::~GpuScheduler() {
  // Nothing may be under way in memory that is given back.
  for (const GpuStreamHandle* stream : {&main_, &upload_, &download_}) gpu_.drain(stream->get());
  for (const GpuStreamHandle& stream : expert_streams_) gpu_.drain(stream.get());
}

template <typename T>
T* GpuScheduler::at(int64_t offset) const {
  return reinterpret_cast<T*>(static_cast<char*>(memory_.get()) + offset);
}

EnhanceReport GpuScheduler::run(const EnhanceObserver& observer) {
  const int total = static_cast<int>(tiles_.size());
  const auto tell = [&] {
    if (observer.poll) observer.poll();
    if (observer.progress) observer.progress(report_.tiles, total);
  };
  tell();
  if (total == 0) return std::move(report_);
  upload_timesteps();
  queue_front(0);
  for (int batch = 0; batch < batches(); ++batch) {
    if (batch + 1 < batches()) queue_front(batch + 1);
    plan_dispatch(batch);
    queue_loop(batch);
    if (batch > 0) collect(batch - 1, batch + 2);
    tell();
  }
  collect(batches() - 1, batches());
  tell();
  return std::move(report_);
}

void GpuScheduler::upload_timesteps() {
  auto* t = static_cast<float*>(timesteps_.get());
  for (size_t step = 0; step < plan_.timesteps.size(); ++step) {
    std::fill_n(t + step * layout_.timestep_stride, layout_.timestep_stride,
                static_cast<float>(plan_.timesteps[step]));
  }
  const int64_t bytes = plan_.timesteps.size() * layout_.timestep_stride * sizeof(float);
  gpu_.upload(at<>(layout_.timesteps), t, bytes, main_.get());
  // The encoder's maps stay 0: none known.
  gpu_.fill_zero(at<>(layout_.centre),
                 layout_.batch * kEncoderChannels * image_size_ * sizeof(float), main_.get());
}

void GpuScheduler::queue_front(int batch) {
  Lane& lane = this->lane(batch);
  const GpuLayout::Lane& to = places(batch);
  const size_t begin = static_cast<size_t>(batch) * layout_.batch;
  const size_t end = std::min(tiles_.size(), begin + layout_.batch);
  lane.tiles.assign(tiles_.begin() + begin, tiles_.begin() + end);
  const int count = static_cast<int>(lane.tiles.size());
  const int bucket = batch_bucket(count);
  auto* slices = static_cast<float*>(lane.slices.get());
  auto* origins = static_cast<NoiseOrigin*>(lane.origins.get());
  {
    const Stage stage(report_, "read");
    for (int b = 0; b < count; ++b) {
      read_tile(plan_.volume, plan_.shape, lane.tiles[b], bundle_.tile_slices,
                slices + b * slices_size_);
      origins[b] = noise_origin(bundle_, lane.tiles[b]);
    }
  }
  constexpr int64_t kFloat = sizeof(float);
  gpu_.upload(at<>(to.slices), slices, count * slices_size_ * kFloat, upload_.get());
  gpu_.upload(at<>(to.origins), origins, count * sizeof(NoiseOrigin), upload_.get());
  gpu_.record(lane.uploaded.get(), upload_.get());
  gpu_.wait(main_.get(), lane.uploaded.get());

  const Model& model = *plan_.model;
  const GpuStream main = main_.get();
  void* scratch = at<void>(layout_.scratch);
  gpu_.copy_rows(at<>(layout_.centre), kEncoderChannels * image_size_ * kFloat,
                 at<>(to.slices) + bundle_.tile_slices / 2 * image_size_, slices_size_ * kFloat,
                 image_size_ * kFloat, count, main);
  on_gpu(model.encoder()).enqueue(bucket, {at<>(layout_.centre)}, {at<>(to.z_low)}, scratch, main);
  on_gpu(model.conditioner())
      .enqueue(bucket, {at<>(to.slices), at<>(to.z_low)}, {at<>(to.z_c), at<>(layout_.tokens)},
               scratch, main);
  on_gpu(model.gate()).enqueue(bucket, {at<>(layout_.tokens)}, {at<>(to.gates)}, scratch, main);
  gpu_.download(lane.gates.get(), at<>(to.gates), count * gate_size_ * kFloat, main);
  gpu_.record(lane.gated.get(), main);
}

void GpuScheduler::plan_dispatch(int batch) {
  Lane& lane = this->lane(batch);
  {
    const Stage stage(report_, "wait");
    gpu_.synchronize(lane.gated.get());
  }
  const Stage stage(report_, "plan");
  const int steps = static_cast<int>(plan_.coefficients.size());
  auto* gates = static_cast<float*>(lane.gates.get());
  auto* slots = static_cast<int*>(lane.slots.get());
  std::fill_n(slots, layout_.batch * bundle_.experts, -1);
  lane.batches.assign(bundle_.experts, 0);
  for (size_t b = 0; b < lane.tiles.size(); ++b) {
    const ExpertMask active =
        plan_tile(gates + b * gate_size_, bundle_.experts, bundle_.gate_height * bundle_.gate_width,
                  plan_.gate_threshold);
    for (int i = 0; i < bundle_.experts; ++i) {
      const bool runs = active >> i & 1;
      if (runs) slots[b * bundle_.experts + i] = lane.batches[i]++;
      (runs ? report_.expert_calls : report_.expert_calls_saved) += steps;
    }
  }
}

bool GpuScheduler::whole(int batch, int expert) const {
  const Lane& lane = lanes_[batch % kGpuLanes];
  return lane.batches[expert] == static_cast<int>(lane.tiles.size());
}

void GpuScheduler::queue_loop(int batch) {
  Lane& lane = this->lane(batch);
  const GpuLayout::Lane& to = places(batch);
  const int count = static_cast<int>(lane.tiles.size());
  const int bucket = batch_bucket(count);
  const GpuStream main = main_.get();
  gpu_.upload(at<>(to.gates), lane.gates.get(), count * gate_size_ * sizeof(float), main);
  gpu_.upload(at<>(to.slots), lane.slots.get(), layout_.batch * bundle_.experts * sizeof(int),
              main);

  Shape shape = {batch % kGpuLanes, bucket};
  for (int i = 0; i < bundle_.experts; ++i) {
    const int own = lane.batches[i] > 0 ? batch_bucket(lane.batches[i]) : 0;
    shape.push_back(whole(batch, i) ? -bucket : own);
  }
  const auto seen = graphs_.find(shape);
  if (seen == graphs_.end()) {
    // Engines prepare themselves when first called: that may not happen within a capture.
    enqueue_loop(batch, bucket);
    const bool room = graphs_.size() < kMostGraphs;
    if (device_.captures() && room) graphs_.emplace(std::move(shape), GpuGraphHandle());
  } else {
    if (!seen->second) {
      GpuCapture capture(gpu_, main);
      enqueue_loop(batch, bucket);
      seen->second = capture.end();
    }
    gpu_.launch(seen->second.get(), main);
  }
  gpu_.record(lane.decoded.get(), main);
  gpu_.wait(download_.get(), lane.decoded.get());
  gpu_.download(lane.image.get(), at<>(to.image), count * image_size_ * sizeof(float),
                download_.get());
  gpu_.record(lane.returned.get(), download_.get());
}

void GpuScheduler::enqueue_loop(int batch, int bucket) {
  enqueue_start(batch, bucket);
  for (size_t step = 0; step < plan_.coefficients.size(); ++step) {
    enqueue_experts(batch, bucket, static_cast<int>(step));
    enqueue_step(batch, bucket, static_cast<int>(step));
  }
  const GpuLayout::Lane& in = places(batch);
  on_gpu(plan_.model->decoder())
      .enqueue(bucket, {at<>(layout_.z0), at<>(in.slices)}, {at<>(in.image)},
               at<void>(layout_.scratch), main_.get());
}

// Where the fused ops put the state for an expert to read; null where it reads the state itself,
// does not run, or shares the rows of an expert before it.
void* GpuScheduler::expert_state(int batch, int expert) const {
  const Lane& lane = lanes_[batch % kGpuLanes];
  if (lane.batches[expert] == 0) return nullptr;
  if (!whole(batch, expert)) return at<void>(layout_.experts[expert].z_t);
  if (expert_type_ == ExpertType::float32) return nullptr;
  for (int i = 0; i < expert; ++i) {
    if (whole(batch, i)) return nullptr;
  }
  return at<void>(layout_.expert_z);
}

void GpuScheduler::enqueue_start(int batch, int bucket) {
  const GpuLayout::Lane& in = places(batch);
  const Lane& lane = lanes_[batch % kGpuLanes];
  StartLatentDeviceBatch start;
  start.tiles = bucket;
  start.experts = bundle_.experts;
  start.type = expert_type_;
  start.z_low = plan_.start_from_noise ? nullptr : at<>(in.z_low);
  start.origins = at<NoiseOrigin>(in.origins);
  start.slots = at<int>(in.slots);
  start.z = at<>(layout_.z);
  GatherRowsDeviceBatch gather;
  gather.tiles = bucket;
  gather.experts = bundle_.experts;
  gather.type = expert_type_;
  gather.row = condition_size_;
  gather.slots = at<int>(in.slots);
  gather.from = at<void>(in.z_c);
  bool gathers = false;
  for (int i = 0; i < bundle_.experts; ++i) {
    start.expert_z[i] = expert_state(batch, i);
    if (whole(batch, i) || lane.batches[i] == 0) continue;
    gather.to[i] = at<void>(layout_.experts[i].z_c);
    gathers = true;
  }
  gpu_.start_latent(latent_shape(bundle_), start_scalars(plan_), start, main_.get());
  if (gathers) gpu_.gather_rows(gather, main_.get());
}

void GpuScheduler::enqueue_experts(int batch, int bucket, int step) {
  const Lane& lane = lanes_[batch % kGpuLanes];
  // In one place for all steps: engines keep something for each set of places.
  const int64_t row = layout_.timestep_stride * sizeof(float);
  gpu_.copy_rows(at<>(layout_.t), row, at<>(layout_.timesteps) + step * layout_.timestep_stride,
                 row, row, 1, main_.get());
  void* shared = at<void>(expert_type_ == ExpertType::float32 ? layout_.z : layout_.expert_z);
  const bool concurrent = !expert_streams_.empty();
  if (concurrent) gpu_.record(forked_.get(), main_.get());
  for (int i = 0; i < bundle_.experts; ++i) {
    if (lane.batches[i] == 0) continue;
    const GpuLayout::Expert& part = layout_.experts[i];
    const bool all = whole(batch, i);
    const GpuStream stream = concurrent ? expert_streams_[i].get() : main_.get();
    if (concurrent) gpu_.wait(stream, forked_.get());
    on_gpu(plan_.model->expert(i))
        .enqueue(all ? bucket : batch_bucket(lane.batches[i]),
                 {all ? shared : at<void>(part.z_t),
                  all ? at<void>(places(batch).z_c) : at<void>(part.z_c), at<>(layout_.t)},
                 {at<void>(part.z0)}, at<void>(part.scratch), stream);
    if (concurrent) gpu_.record(joined_[i].get(), stream);
  }
  for (int i = 0; i < bundle_.experts; ++i) {
    if (concurrent && lane.batches[i] > 0) gpu_.wait(main_.get(), joined_[i].get());
  }
}

void GpuScheduler::enqueue_step(int batch, int bucket, int step) {
  const GpuLayout::Lane& in = places(batch);
  const GatedStepScalars scalars = step_scalars(plan_, step);
  GatedStepDeviceBatch fused;
  fused.tiles = bucket;
  fused.type = expert_type_;
  fused.z_t = fused.z_s = at<>(layout_.z);
  fused.slots = at<int>(in.slots);
  fused.gates = at<>(in.gates);
  fused.z0 = at<>(layout_.z0);
  fused.z0_prev = scalars.c_1 != 0 ? fused.z0 : nullptr;
  fused.origins = at<NoiseOrigin>(in.origins);
  const bool last = step + 1 == static_cast<int>(plan_.coefficients.size());
  for (int i = 0; i < bundle_.experts; ++i) {
    fused.experts[i] = at<void>(layout_.experts[i].z0);
    if (!last) fused.expert_z[i] = expert_state(batch, i);
  }
  const GatedStepShape shape{bundle_.latent_channels, bundle_.latent_height, bundle_.latent_width,
                             bundle_.experts,         bundle_.gate_height,   bundle_.gate_width};
  gpu_.gated_step(shape, scalars, fused, main_.get());
}

void GpuScheduler::collect(int batch, int unread) {
  Lane& lane = this->lane(batch);
  {
    const Stage stage(report_, "wait");
    gpu_.synchronize(lane.returned.get());
  }
  const Stage stage(report_, "blend");
  const size_t next = static_cast<size_t>(unread) * layout_.batch;
  blend_.read_before(next < tiles_.size() ? tiles_[next].z : plan_.shape.nz);
  const auto* images = static_cast<const float*>(lane.image.get());
  const auto* gates = static_cast<const float*>(lane.gates.get());
  for (size_t b = 0; b < lane.tiles.size(); ++b) {
    check_image(plan_, lane.tiles[b], images + b * image_size_);
    blend_.add(lane.tiles[b], images + b * image_size_, gates + b * gate_size_);
  }
  report_.tiles += static_cast<int>(lane.tiles.size());
}

}  // namespace mdr
