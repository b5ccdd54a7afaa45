/* The C library as a program in C sees it, on an engine that stands in for OpenVINO's. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <time.h>

#include "scan_for_c.h"
#include "stand_in_engine.h"

#define WORDS(...) ((const char* const[]){__VA_ARGS__, NULL})

typedef struct Bench {
  mdr_engine* engine;
  mdr_session* session;
  float *scan, *out;
  size_t voxels;
} Bench;

static Bench open_bench(const mdr_engine_params* params) {
  Bench bench = {stand_in_engine(params), NULL, make_scan(), NULL, 0};
  mdr_grid output;
  check(mdr_session_create(bench.engine, &bench.session) == MDR_OK, "a session is made");
  check(mdr_output_grid(bench.engine, &kGrid, NULL, &output) == MDR_OK, "the output grid is told");
  bench.voxels = mdr_grid_voxels(&output);
  bench.out = make_out(bench.voxels);
  return bench;
}

static void close_bench(Bench* bench) {
  mdr_session_free(bench->session);
  mdr_engine_free(bench->engine);
  free(bench->scan);
  free(bench->out);
}

static mdr_status run(Bench* bench, const mdr_enhance_params* params) {
  return mdr_enhance(bench->session, bench->scan, &kGrid, params, bench->out, bench->voxels);
}

static void the_library_says_which_one_it_is(void) {
  check(mdr_abi_version() == MDR_ABI_VERSION, "library and header are of one ABI");
  check(strchr(mdr_version(), '.') != NULL, "the version is told");
  check(strcmp(mdr_status_name(MDR_TIMEOUT), "MDR_TIMEOUT") == 0, "a status has a name");
  check(strcmp(mdr_status_name((mdr_status)77), "unknown status") == 0, "another has none");
}

static void structs_of_another_size_are_refused(void) {
  mdr_engine* engine = NULL;
  struct {
    mdr_engine_params known;
    void* unknown;
  } newer;
  newer.unknown = &newer;
  mdr_engine_fill_params(&newer.known, sizeof newer);
  check(newer.unknown == NULL, "what the library does not know is filled with zeros");
  check_refused(mdr_engine_load("x", &newer.known, &engine), MDR_INVALID_ARGUMENT,
                WORDS("struct_size", "newer release"), "a newer header's params are refused");
  mdr_engine_params unset = mdr_engine_default_params();
  unset.struct_size = 0;
  check_refused(mdr_engine_load("x", &unset, &engine), MDR_INVALID_ARGUMENT,
                WORDS("struct_size", "never set"), "params without their size are refused");
  mdr_engine_fill_params(NULL, sizeof unset);
  check(mdr_enhance_default_params().samples == 1, "one sample is the default");
  check(mdr_enhance_default_params().data_consistency == 1, "data consistency is the default");
}

static void null_pointers_are_refused_by_name(void) {
  Bench bench = open_bench(NULL);
  mdr_engine* engine = NULL;
  mdr_grid grid;
  check_refused(mdr_engine_load(NULL, NULL, &engine), MDR_INVALID_ARGUMENT, WORDS("bundle, found"),
                "no bundle");
  check_refused(mdr_engine_load("x", NULL, NULL), MDR_INVALID_ARGUMENT, WORDS("engine, found"),
                "no place for an engine");
  check_refused(mdr_output_grid(NULL, &kGrid, NULL, &grid), MDR_INVALID_ARGUMENT, WORDS("engine"),
                "no engine");
  check_refused(mdr_enhance(NULL, bench.scan, &kGrid, NULL, bench.out, bench.voxels),
                MDR_INVALID_ARGUMENT, WORDS("session"), "no session");
  check_refused(mdr_enhance(bench.session, NULL, &kGrid, NULL, bench.out, bench.voxels),
                MDR_INVALID_ARGUMENT, WORDS("scan"), "no scan");
  check_refused(mdr_enhance(bench.session, bench.scan, NULL, NULL, bench.out, bench.voxels),
                MDR_INVALID_ARGUMENT, WORDS("grid"), "no grid");
  check_refused(mdr_enhance(bench.session, bench.scan, &kGrid, NULL, NULL, bench.voxels),
                MDR_INVALID_ARGUMENT, WORDS("for out"), "no room");
  mdr_engine_free(NULL);
  mdr_session_free(NULL);
  close_bench(&bench);
}

static void what_cannot_be_loaded_is_refused(void) {
  mdr_engine* engine = (mdr_engine*)&engine;
  check_refused(mdr_engine_load("no/such/folder", NULL, &engine), MDR_BUNDLE_ERROR,
                WORDS("no/such/folder", "expected", ";"), "a bundle that is not there");
  check(engine == NULL, "there is no engine after a failure");
  mdr_engine_params params = mdr_engine_default_params();
  params.backend = "abacus";
  check_refused(mdr_engine_load(MDR_BUNDLE, &params, &engine), MDR_BACKEND_ERROR,
                WORDS("abacus", "openvino"), "a backend that is none");
  params = mdr_engine_default_params();
  params.memory_limit = UINT64_MAX;
  check_refused(mdr_engine_load(MDR_BUNDLE, &params, &engine), MDR_INVALID_ARGUMENT,
                WORDS("memory limit"), "more memory than there can be");
  params = mdr_engine_default_params();
  params.log_level = 9;
  check_refused(mdr_engine_load(MDR_BUNDLE, &params, &engine), MDR_INVALID_ARGUMENT,
                WORDS("log level"), "a log level that is none");
}

typedef struct {
  int asked, stops_at;
} Asked;

static int stop(void* user_data) {
  Asked* asked = user_data;
  return ++asked->asked >= asked->stops_at;
}

static void loading_can_be_cancelled(int when_asked) {
  Asked asked = {0, when_asked};
  mdr_engine* engine = NULL;
  mdr_engine_params params = mdr_engine_default_params();
  params.cancel = stop;
  params.user_data = &asked;
  check_refused(mdr_engine_load(MDR_BUNDLE, &params, &engine), MDR_CANCELLED, WORDS("cancel()"),
                "a cancelled load");
  check(asked.asked == when_asked, "cancel is not asked again once it said yes");
}

static void the_output_covers_the_same_box(void) {
  Bench bench = open_bench(NULL);
  mdr_grid output;
  mdr_enhance_params params = mdr_enhance_default_params();
  params.output_mm = 1.2;
  check(mdr_output_grid(bench.engine, &kGrid, &params, &output) == MDR_OK, "a spacing is taken");
  check(output.nx == 33 && output.ny == 30 && output.nz == 20, "its shape is that of the box");
  check(fabs(output.nx * output.voxel_mm[0] - NX * 2.0) < 1e-9, "x has the box's length");
  check(fabs(output.nz * output.voxel_mm[2] - NZ * 2.0) < 1e-9, "z has the box's length");
  mdr_grid empty = kGrid;
  empty.ny = 0;
  check_refused(mdr_output_grid(bench.engine, &empty, NULL, &output), MDR_INPUT_ERROR,
                WORDS("20 x 0 x 12"), "no voxels");
  mdr_grid thin = kGrid;
  thin.nz = 7;
  check_refused(mdr_output_grid(bench.engine, &thin, NULL, &output), MDR_INPUT_ERROR,
                WORDS("at least 8", "20 x 18 x 7"), "too few slices");
  mdr_grid rod = {9000, 8, 8, {0.5, 0.5, 0.5}};
  check_refused(mdr_output_grid(bench.engine, &rod, NULL, &output), MDR_INPUT_ERROR,
                WORDS("8192", "the scan", "9000 x 8 x 8"), "too long a scan");
  rod.nx = 5000;
  rod.voxel_mm[0] = 5;
  check_refused(mdr_output_grid(bench.engine, &rod, NULL, &output), MDR_INPUT_ERROR,
                WORDS("8192", "the output", "50000 x"), "too long an output");
  mdr_grid flat = kGrid;
  flat.voxel_mm[1] = NAN;
  check_refused(mdr_output_grid(bench.engine, &flat, NULL, &output), MDR_INPUT_ERROR,
                WORDS("voxel edges"), "no edges");
  params.output_mm = -1;
  check_refused(mdr_output_grid(bench.engine, &kGrid, &params, &output), MDR_INPUT_ERROR,
                WORDS("output spacing"), "a negative spacing");
  close_bench(&bench);
}

typedef struct Progress {
  int32_t calls, done, total, fell_back;
} Progress;

static void note_progress(int32_t done, int32_t total, void* user_data) {
  Progress* progress = user_data;
  progress->fell_back |= done < progress->done || done > total;
  progress->done = done;
  progress->total = total;
  ++progress->calls;
}

static void a_scan_is_enhanced(void) {
  Bench bench = open_bench(NULL);
  Progress progress = {0, 0, 0, 0};
  mdr_report report = {0};
  report.struct_size = sizeof report;
  check_refused(mdr_session_report(bench.session, &report), MDR_INVALID_ARGUMENT,
                WORDS("none of its calls"), "no report before a run");
  mdr_enhance_params params = mdr_enhance_default_params();
  params.progress = note_progress;
  params.user_data = &progress;
  check(run(&bench, &params) == MDR_OK, "the run goes well");
  float low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < bench.voxels; ++i) {
    check(isfinite(bench.out[i]), "the result is finite");
    low = fminf(low, bench.out[i]);
    high = fmaxf(high, bench.out[i]);
  }
  check(low > -2000 && high > 300, "the result is in the scan's unit");
  check(progress.calls > 0 && !progress.fell_back, "progress rises");
  check(progress.done == progress.total && progress.total > 0, "and ends with all tiles");
  check(mdr_session_report(bench.session, &report) == MDR_OK, "the report is there");
  check(report.tiles == progress.total, "it counts the tiles");
  check(mdr_grid_voxels(&report.output) == bench.voxels, "it has the output's grid");
  check(report.expert_calls > 0 && report.seconds > 0, "it says how much was done");

  float* again = make_out(bench.voxels);
  params = mdr_enhance_default_params();
  params.tiles = 1;
  check(mdr_enhance(bench.session, bench.scan, &kGrid, &params, again, bench.voxels) == MDR_OK,
        "a second run goes well");
  check(memcmp(again, bench.out, bench.voxels * sizeof *again) == 0,
        "the same scan gives the same voxels, however many tiles are under way");
  free(again);
  close_bench(&bench);
}

static void slabs_of_a_scan_can_be_treated_alike(void) {
  Bench bench = open_bench(NULL);
  mdr_report report = {0}, again = {0};
  report.struct_size = again.struct_size = sizeof report;
  check(run(&bench, NULL) == MDR_OK, "the whole scan goes well");
  check(mdr_session_report(bench.session, &report) == MDR_OK, "its report is there");
  check(report.intensity_level > 800 && report.intensity_level < 1000, "it has the bright level");
  mdr_enhance_params params = mdr_enhance_default_params();
  params.intensity_level = report.intensity_level;
  params.noise_sigma = report.noise_sigma;
  check(report.slice_profile == -1, "its edges are alike: no slice profile");
  params.slice_profile = report.slice_profile;
  float* same = make_out(bench.voxels);
  check(mdr_enhance(bench.session, bench.scan, &kGrid, &params, same, bench.voxels) == MDR_OK,
        "what was found may be given");
  for (size_t i = 0; i < bench.voxels; ++i) {
    check(fabsf(same[i] - bench.out[i]) < 1e-2f, "for the same result, but for rounding");
  }
  /* A slab that is brighter by itself. */
  mdr_grid slab = kGrid;
  slab.nz = 8;
  params.slice_profile = 1.5;
  for (int i = 0; i < NX * NY * 8; ++i) bench.scan[i] *= 1.5f;
  check(
      mdr_enhance(bench.session, bench.scan, &slab, &params, same, bench.voxels / 12 * 8) == MDR_OK,
      "a slab is enhanced");
  check(mdr_session_report(bench.session, &again) == MDR_OK, "its report is there");
  check(again.intensity_level == report.intensity_level, "with the level that was given");
  check(again.noise_sigma == report.noise_sigma, "and the noise");
  check(again.slice_profile == 1.5, "and the slice profile");
  float* plain = make_out(bench.voxels);
  params.slice_profile = -1;
  check(mdr_enhance(bench.session, bench.scan, &slab, &params, plain, bench.voxels / 12 * 8) ==
            MDR_OK,
        "without a profile it is enhanced, too");
  float most = 0;
  for (size_t i = 0; i < bench.voxels / 12 * 8; ++i) most = fmaxf(most, fabsf(plain[i] - same[i]));
  check(most > 1, "to something else");
  free(plain);
  free(same);
  close_bench(&bench);
}

static void what_cannot_be_enhanced_is_refused(void) {
  Bench bench = open_bench(NULL);
  check_refused(mdr_enhance(bench.session, bench.scan, &kGrid, NULL, bench.out, bench.voxels - 1),
                MDR_INVALID_ARGUMENT, WORDS("40 x 36 x 24", "mdr_output_grid"), "too little room");
  mdr_enhance_params params = mdr_enhance_default_params();
  params.samples = 0;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("samples"), "no samples");
  params = mdr_enhance_default_params();
  params.planes = 4;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("1 to 3 planes"), "a fourth plane");
  params = mdr_enhance_default_params();
  params.steps = 100000;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("steps", "100000"), "too many steps");
  params = mdr_enhance_default_params();
  params.intensity_level = -5;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("intensity level", "-5"),
                "a negative level");
  params.intensity_level = 0;
  params.noise_sigma = NAN;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("noise", "nan"), "no noise level");
  params.noise_sigma = 0;
  params.slice_profile = 12;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("slice profile", "12"),
                "a profile wider than anyone's");
  params.slice_profile = -0.5;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("slice profile", "-0.5"),
                "a profile below none");
  params = mdr_enhance_default_params();
  params.tiles = -1;
  check_refused(run(&bench, &params), MDR_INPUT_ERROR, WORDS("-1"), "less than no tiles");
  params = mdr_enhance_default_params();
  params.memory = MDR_DEVICE_MEMORY;
  check_refused(run(&bench, &params), MDR_BACKEND_ERROR, WORDS("host memory"),
                "device memory without a GPU");
  params.memory = 7;
  check_refused(run(&bench, &params), MDR_INVALID_ARGUMENT, WORDS("MDR_HOST_MEMORY", "7"),
                "memory of an unknown kind");
  bench.scan[77] = NAN;
  check_refused(run(&bench, NULL), MDR_INPUT_ERROR, WORDS("finite"), "a NaN");
  check(untouched(bench.out, bench.voxels), "out is untouched by all that");
  close_bench(&bench);
}

static void a_failing_engine_leaves_the_output_alone(void) {
  Bench bench = open_bench(NULL);
  mdr_engine* broken = stand_in_broken_engine(NULL);
  mdr_session* session = NULL;
  check(mdr_session_create(broken, &session) == MDR_OK, "a session is made");
  mdr_engine_free(broken);
  check_refused(mdr_enhance(session, bench.scan, &kGrid, NULL, bench.out, bench.voxels),
                MDR_ENGINE_ERROR, WORDS("broken"),
                "an engine that fails, freed before its session");
  check(untouched(bench.out, bench.voxels), "out is untouched");
  mdr_session_free(session);
  close_bench(&bench);
}

typedef struct Patience {
  int stop, first;
  struct timespec begin;
} Patience;

static void ask_to_stop(int32_t done, int32_t total, void* user_data) {
  (void)total;
  ((Patience*)user_data)->stop = done > 0;
}

static int asked_to_stop(void* user_data) { return ((Patience*)user_data)->stop; }

static void a_run_can_be_cancelled(void) {
  Bench bench = open_bench(NULL);
  Patience patience = {0, 0, {0, 0}};
  mdr_enhance_params params = mdr_enhance_default_params();
  params.progress = ask_to_stop;
  params.cancel = asked_to_stop;
  params.user_data = &patience;
  check_refused(run(&bench, &params), MDR_CANCELLED, WORDS("cancel()", "nothing was written"),
                "a cancelled run");
  check(untouched(bench.out, bench.voxels), "out is untouched");
  check(run(&bench, NULL) == MDR_OK, "the session can be used again");
  close_bench(&bench);
}

/* Keeps the run from ending before its deadline of 30 ms. */
static void dawdle(int32_t done, int32_t total, void* user_data) {
  (void)done;
  (void)total;
  const Patience* patience = user_data;
  struct timespec now;
  do {
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - patience->begin.tv_sec) * 1000L +
               (now.tv_nsec - patience->begin.tv_nsec) / 1000000L <
           40);
}

static void a_deadline_ends_a_run(void) {
  Bench bench = open_bench(NULL);
  Patience patience = {0, 0, {0, 0}};
  clock_gettime(CLOCK_MONOTONIC, &patience.begin);
  mdr_enhance_params params = mdr_enhance_default_params();
  params.deadline_ms = 30;
  params.progress = dawdle;
  params.user_data = &patience;
  check_refused(run(&bench, &params), MDR_TIMEOUT, WORDS("30 ms", "allow more time"),
                "a run past its deadline");
  check(untouched(bench.out, bench.voxels), "out is untouched");
  params = mdr_enhance_default_params();
  params.deadline_ms = 600000;
  check(run(&bench, &params) == MDR_OK, "a deadline that is far off ends nothing");
  close_bench(&bench);
}

static void the_memory_limit_is_kept(void) {
  Bench bench = open_bench(NULL);
  check(run(&bench, NULL) == MDR_OK, "the run goes well");
  mdr_engine_params params = mdr_engine_default_params();
  params.memory_limit = 1000;
  Bench poor = open_bench(&params);
  check_refused(run(&poor, NULL), MDR_OUT_OF_MEMORY, WORDS("memory limit of ", "1000"),
                "a limit that is too low");
  check(untouched(poor.out, poor.voxels), "out is untouched");
  const char* least = strstr(mdr_last_error(), "memory limit of ") + strlen("memory limit of ");
  params.memory_limit = strtoull(least, NULL, 10);
  close_bench(&poor);
  poor = open_bench(&params);
  check(run(&poor, NULL) == MDR_OK, "the limit that the error asked for is enough");
  check(memcmp(poor.out, bench.out, bench.voxels * sizeof *bench.out) == 0, "for the same result");
  close_bench(&poor);
  params.memory_limit -= 1;
  poor = open_bench(&params);
  check_refused(run(&poor, NULL), MDR_OUT_OF_MEMORY, WORDS("memory limit of "), "one byte less");
  close_bench(&poor);
  close_bench(&bench);
}

static Bench* nested_bench;
static mdr_status nested_status, report_status;

static void enhance_within(int32_t done, int32_t total, void* user_data) {
  (void)done;
  (void)total;
  nested_status = run(nested_bench, user_data);
  mdr_report report;
  report.struct_size = sizeof report;
  report_status = mdr_session_report(nested_bench->session, &report);
}

static void a_session_in_use_is_refused(void) {
  Bench bench = open_bench(NULL);
  nested_bench = &bench;
  mdr_enhance_params params = mdr_enhance_default_params();
  params.progress = enhance_within;
  check(run(&bench, &params) == MDR_OK, "the outer run goes well");
  check_refused(report_status, MDR_INVALID_ARGUMENT, WORDS("in use"),
                "its report is not there yet");
  check(nested_status == MDR_INVALID_ARGUMENT, "the inner one is refused");
  close_bench(&bench);
}

typedef struct Diary {
  int infos, errors;
  char last[512];
} Diary;

static void write_down(mdr_log_level level, const char* message, void* user_data) {
  Diary* diary = user_data;
  diary->infos += level == MDR_LOG_INFO;
  diary->errors += level == MDR_LOG_ERROR;
  snprintf(diary->last, sizeof diary->last, "%s", message);
}

static void what_happens_is_logged(void) {
  Diary diary = {0, 0, ""};
  mdr_engine_params params = mdr_engine_default_params();
  params.log = write_down;
  params.user_data = &diary;
  Bench bench = open_bench(&params);
  check(run(&bench, NULL) == MDR_OK, "the run goes well");
  check(diary.infos == 1 && strstr(diary.last, "enhanced 20 x 18 x 12 to 40 x 36 x 24"),
        "a run is told of");
  bench.scan[3] = INFINITY;
  check(run(&bench, NULL) == MDR_INPUT_ERROR && diary.errors == 1, "and so is a failure");
  check(strcmp(diary.last, mdr_last_error()) == 0, "in the words of the last error");
  close_bench(&bench);
  mdr_engine* engine = NULL;
  check(mdr_engine_load("no/such/folder", &params, &engine) == MDR_BUNDLE_ERROR, "no bundle");
  check(diary.errors == 2, "a load that fails is told of");
  params.log_level = MDR_LOG_NONE;
  check(mdr_engine_load("no/such/folder", &params, &engine) == MDR_BUNDLE_ERROR, "no bundle");
  check(diary.errors == 2, "below the level nothing is told");
}

static void an_engine_describes_itself(void) {
  Bench bench = open_bench(NULL);
  mdr_engine_info info;
  info.struct_size = sizeof info;
  check(mdr_engine_describe(bench.engine, &info) == MDR_OK, "it does");
  check(strcmp(info.bundle_name, "fake") == 0 && strcmp(info.backend, "pooled") == 0, "by name");
  check(info.input_max_mm == 5 && info.output_min_mm == 0.5, "with the trained range");
  check(info.default_steps == 3 && info.default_planes == 1, "and its defaults");
  info.struct_size = 3;
  check_refused(mdr_engine_describe(bench.engine, &info), MDR_INVALID_ARGUMENT,
                WORDS("struct_size", "3"), "a struct without its size is refused");
  close_bench(&bench);
}

int main(void) {
  check(strcmp(mdr_last_error(), "") == 0, "there is no error before any");
  the_library_says_which_one_it_is();
  structs_of_another_size_are_refused();
  null_pointers_are_refused_by_name();
  what_cannot_be_loaded_is_refused();
  loading_can_be_cancelled(1);
  loading_can_be_cancelled(3); /* with engines under way */
  the_output_covers_the_same_box();
  a_scan_is_enhanced();
  slabs_of_a_scan_can_be_treated_alike();
  what_cannot_be_enhanced_is_refused();
  a_failing_engine_leaves_the_output_alone();
  a_run_can_be_cancelled();
  a_deadline_ends_a_run();
  the_memory_limit_is_kept();
  a_session_in_use_is_refused();
  what_happens_is_logged();
  an_engine_describes_itself();
  puts("all claims hold");
  return 0;
}
