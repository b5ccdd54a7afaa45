/* moediff-rt for C and C++: a T1-weighted brain MRI volume in, a sharper one out.
 *
 * Not a medical device; for research only.
 *
 *   #include <moediff_rt.h>
 *
 *   mdr_engine* engine = NULL;
 *   mdr_session* session = NULL;
 *   mdr_grid scan_grid = {128, 128, 60, {2.0, 2.0, 2.0}}, out_grid;
 *
 *   if (mdr_engine_load("bundle", NULL, &engine) != MDR_OK ||
 *       mdr_session_create(engine, &session) != MDR_OK ||
 *       mdr_output_grid(engine, &scan_grid, NULL, &out_grid) != MDR_OK) {
 *     return complain(mdr_last_error());
 *   }
 *   size_t voxels = mdr_grid_voxels(&out_grid);
 *   float* out = malloc(voxels * sizeof *out);
 *   mdr_enhance_params params = mdr_enhance_default_params();
 *   params.deadline_ms = 60000;
 *   if (mdr_enhance(session, scan, &scan_grid, &params, out, voxels) != MDR_OK) {
 *     complain(mdr_last_error());
 *   }
 *   mdr_session_free(session);
 *   mdr_engine_free(engine);
 *
 * Threads: one engine for all, a session for each. Every function may be called from any thread;
 * a session from one at a time. A call leaves the thread's CUDA device as it found it; in callbacks
 * it may be the engine's.
 *
 * Errors: a function that can fail returns an mdr_status, and mdr_last_error() has the sentence.
 * No exception leaves the library; it installs no signal handler, never ends the process and prints
 * nothing. Callbacks are called on the thread that made the call, must not leave it with longjmp,
 * and may not use the engine or any of its sessions.
 *
 * Growth: structs whose name ends in _params, _info or _report begin with their size, and only grow
 * at their end. Get params from their mdr_..._default_params(), then set what you need.
 */
#ifndef MOEDIFF_RT_H
#define MOEDIFF_RT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MDR_API __attribute__((visibility("default")))
#else
#define MDR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a program built with an older header would not run right with this library. */
#define MDR_ABI_VERSION 1
/* The library's own: equal to MDR_ABI_VERSION, or the two are of different releases. */
MDR_API uint32_t mdr_abi_version(void);
/* "0.1.0" */
MDR_API const char* mdr_version(void);

typedef enum mdr_status {
  MDR_OK = 0,
  MDR_INVALID_ARGUMENT = 1, /* the call itself is wrong: a null pointer, room of another size */
  MDR_INPUT_ERROR = 2,      /* the scan, its grid or a setting cannot be used */
  MDR_BUNDLE_ERROR = 3,     /* the bundle is missing, damaged, or of an unknown format */
  MDR_ENGINE_ERROR = 4,     /* an engine could not be built, loaded or run */
  MDR_BACKEND_ERROR = 5,    /* the backend, device or precision is unknown or not here */
  MDR_CANCELLED = 6,        /* the cancel callback asked to stop */
  MDR_TIMEOUT = 7,          /* the deadline passed */
  MDR_OUT_OF_MEMORY = 8,    /* the memory limit is too low, or the system gave no more */
  MDR_INTERNAL_ERROR = 9    /* anything else; please report it */
} mdr_status;

/* "MDR_TIMEOUT"; "unknown status" for a number that is none. */
MDR_API const char* mdr_status_name(mdr_status status);
/* What went wrong in the last call of this thread that failed: what was expected, what was found,
 * the likely cause and the remedy, on one line; "" before any. Valid until this thread's next. */
MDR_API const char* mdr_last_error(void);

typedef enum mdr_log_level {
  MDR_LOG_DEBUG = 0,
  MDR_LOG_INFO = 1,    /* what was loaded, built and run, and how long it took */
  MDR_LOG_WARNING = 2, /* it works, but not as it should: engines that could not be kept */
  MDR_LOG_ERROR = 3,   /* what mdr_last_error() says */
  MDR_LOG_NONE = 4
} mdr_log_level;

/* An engine's sessions log, too: from as many threads at once as use them. */
typedef void (*mdr_log_callback)(mdr_log_level level, const char* message, void* user_data);
/* Tiles done, and tiles in all; the last call has both equal. */
typedef void (*mdr_progress_callback)(int32_t done, int32_t total, void* user_data);
/* Asked about ten times a second while a volume is enhanced (on a GPU once a batch of tiles) and
 * while an engine is loaded. Anything but 0 stops the call. */
typedef int (*mdr_cancel_callback)(void* user_data);

/* ---- An engine: a bundle on a device. Shared by threads. ---- */

typedef struct mdr_engine mdr_engine;

typedef struct mdr_engine_params {
  size_t struct_size;
  const char* backend; /* NULL: OpenVINO, for now; "openvino", "tensorrt", "tensorrt-rtx" */
  const char* device;  /* NULL: the backend's first; "CPU"; the number of a GPU, as "0" */
  /* NULL: the fastest that is accurate, in int8 to a tenth of a decibel on average; "fp32", "bf16",
   * "fp16", "tf32" (TensorRT); "int8" (OpenVINO on a CPU, of a bundle that has 8-bit modules) */
  const char* precision;
  /* Folder of engines, kept between runs and shared with the moediff-rt command. NULL:
   * $MOEDIFF_RT_CACHE/engines, $XDG_CACHE_HOME/moediff-rt/engines, ~/.cache/moediff-rt/engines,
   * whichever is known first. "": nothing is read or written, and all is built again (OpenVINO;
   * TensorRT's engines are never built here, but taken from it). */
  const char* engines_dir;
  int32_t threads;       /* CPU threads that all sessions share; 0: all cores of the process */
  int32_t log_level;     /* the least mdr_log_level that is told; default MDR_LOG_INFO */
  uint64_t memory_limit; /* bytes that one mdr_enhance() may take; 0: no limit (on a GPU
                          * nine tenths of what is free). See there. */
  mdr_log_callback log;  /* NULL: nothing is told */
  mdr_cancel_callback cancel;
  void* user_data; /* for log and cancel */
} mdr_engine_params;

/* Defaults into the first struct_size bytes of params; for languages that cannot use the inline
 * functions below. */
MDR_API void mdr_engine_fill_params(mdr_engine_params* params, size_t struct_size);

static inline mdr_engine_params mdr_engine_default_params(void) {
  mdr_engine_params params;
  mdr_engine_fill_params(&params, sizeof params);
  return params;
}

/* Checks the bundle (a folder) and builds its engines, or loads them from the folder of engines.
 * params may be NULL. *engine is NULL unless MDR_OK is returned. On a CPU these are engines for the
 * largest tile; the first mdr_enhance() of a smaller head builds or loads those that fit it, in
 * about a second: run one at the start where that matters. */
MDR_API mdr_status mdr_engine_load(const char* bundle, const mdr_engine_params* params,
                                   mdr_engine** engine);
/* May be called while sessions of the engine are in use, which keep what they need. NULL is fine.
 */
MDR_API void mdr_engine_free(mdr_engine* engine);

typedef struct mdr_engine_info {
  size_t struct_size;
  const char* bundle_name; /* strings live as long as the engine */
  const char* bundle_hash; /* SHA-256 of bundle.json, in hex: names the model in your records */
  const char* backend;
  const char* device;
  const char* precision;
  int32_t threads;
  int32_t default_steps;
  double input_min_mm, input_max_mm;   /* voxel edges that it was trained to take, */
  double output_min_mm, output_max_mm; /* and to make */
  int32_t default_planes;              /* where the edges of a voxel are alike */
} mdr_engine_info;

/* Set info->struct_size to sizeof *info first. */
MDR_API mdr_status mdr_engine_describe(const mdr_engine* engine, mdr_engine_info* info);

/* ---- Volumes ---- */

/* A float32 volume, x fastest, then y, then z: voxel (x, y, z) is at x + nx * (y + ny * z). x goes
 * from left to right, y from back to front, z from foot to head. A slab is a volume, too: each axis
 * has 8 voxels or more, and at most 8192; a volume has at most 1.5e9 in all. */
typedef struct mdr_grid {
  int32_t nx, ny, nz;
  double voxel_mm[3]; /* edges along x, y and z */
} mdr_grid;

static inline size_t mdr_grid_voxels(const mdr_grid* grid) {
  return (size_t)grid->nx * (size_t)grid->ny * (size_t)grid->nz;
}

typedef enum mdr_memory {
  MDR_HOST_MEMORY = 0,
  MDR_DEVICE_MEMORY = 1 /* of the engine's GPU */
} mdr_memory;

typedef struct mdr_enhance_params {
  size_t struct_size;
  double output_mm; /* edge of the isotropic output voxels; 0: half the scan's smallest edge, within
                       what the bundle was trained for */
  /* What is otherwise found in the scan, in its unit; 0: found. For slabs of one scan, which are to
   * be treated alike: what the report of one of them, or of the whole scan, says. */
  double intensity_level;
  double noise_sigma;
  uint64_t seed;   /* of the noise: the same scan, settings and seed give the same voxels */
  int32_t steps;   /* of the sampler; 0: the bundle's own number */
  int32_t samples; /* results averaged, with the seeds from seed on, each with slices mirrored in
                      another way, up to four; default 1, at most 1000 */
  int32_t data_consistency; /* default 1: the result agrees with the scan at its resolution */
  int32_t tiles; /* under way at once, up to 1024; 0: the best for the device. Same result. */
  uint32_t deadline_ms; /* 0: none */
  int32_t memory;       /* where scan and out lie: an mdr_memory; default MDR_HOST_MEMORY */
  /* A cudaStream_t for device memory: the scan is read after what was queued there before, and out
   * is whole when the call returns. NULL: the default stream. */
  void* stream;
  mdr_progress_callback progress;
  mdr_cancel_callback cancel;
  void* user_data; /* for progress and cancel */
  /* Number of slice orientations, 1 to 3, to enhance and average, the coarsest axis first; the run
   * time grows in proportion. 0: the bundle's own number where the edges are alike, else one; fewer
   * for slabs thinner than half a tile. */
  int32_t planes;
  /* Like intensity_level: full width at half maximum of the slices' profile along the scan's
   * coarsest edge, in slice distances, up to 4; 0: found in the scan; -1: none. A slab is often too
   * small to tell: take it from the report of the whole scan, -1 where that says 0 (none). Of thick
   * slices of a 2D acquisition give their thickness over the distance of their centres, 1 without
   * gaps; of a 3D one -1. */
  double slice_profile;
} mdr_enhance_params;

MDR_API void mdr_enhance_fill_params(mdr_enhance_params* params, size_t struct_size);

static inline mdr_enhance_params mdr_enhance_default_params(void) {
  mdr_enhance_params params;
  mdr_enhance_fill_params(&params, sizeof params);
  return params;
}

/* The grid of the output, over the same box as the scan's. params may be NULL. */
MDR_API mdr_status mdr_output_grid(const mdr_engine* engine, const mdr_grid* scan,
                                   const mdr_enhance_params* params, mdr_grid* output);

/* ---- A session: what one thread needs. ---- */

typedef struct mdr_session mdr_session;

MDR_API mdr_status mdr_session_create(mdr_engine* engine, mdr_session** session);
/* NULL is fine. */
MDR_API void mdr_session_free(mdr_session* session);

/* Enhances scan (on grid) into out, which has out_voxels voxels: as many as mdr_output_grid() says.
 * params may be NULL. out is in the scan's intensity unit, and is written when the whole result is
 * there: on any failure it is untouched, but for device memory when the copy itself fails, which
 * may leave it partly written. Ringing may leave out below zero where scan is not: clip it before
 * it is stored as an image, as the moediff-rt command does.
 *
 * Deadline: looked at about ten times a second and before out is written. Past it the call gives up
 * the tiles under way and returns MDR_TIMEOUT: on a CPU within 0.1 s and what one tile takes. On a
 * GPU it is looked at, like cancel, after each batch of tiles: within what one batch takes.
 *
 * Memory: on a CPU the limit counts the volumes and the tiles under way, of which there will be
 * fewer to stay below it, each counted as the largest tile; not the scan, out, the engines' own
 * memory, nor the model. On a GPU it counts device memory beside the engines, and batches are as
 * large as fit. When nothing fits, MDR_OUT_OF_MEMORY or MDR_BACKEND_ERROR is returned before
 * anything is run.
 *
 * Device memory is taken with the tensorrt backends; intensities are prepared and tiles blended on
 * the host, so the volumes are copied there and back. Runs of one engine on a GPU follow each
 * other; those of two engines share it. */
MDR_API mdr_status mdr_enhance(mdr_session* session, const float* scan, const mdr_grid* grid,
                               const mdr_enhance_params* params, float* out, size_t out_voxels);

typedef struct mdr_report {
  size_t struct_size;
  mdr_grid output;
  double intensity_level;    /* of bright tissue, found in the scan or given, in its unit */
  double noise_sigma;        /* standard deviation of the noise, likewise */
  double largest_correction; /* that data consistency made, in the scan's unit; 0 without it */
  double seconds;            /* of the whole call */
  int64_t expert_calls;
  int64_t expert_calls_saved; /* not run because the gate was shut */
  int64_t tiles;
  int32_t planes; /* that slices were enhanced in */
  /* Width, found or given, in slice distances; -1: none, too small to tell, or without data
   * consistency. */
  double slice_profile;
} mdr_report;

/* How the session's last successful mdr_enhance() went; MDR_INVALID_ARGUMENT before any. Set
 * report->struct_size to sizeof *report first. */
MDR_API mdr_status mdr_session_report(const mdr_session* session, mdr_report* report);

#ifdef __cplusplus
}
#endif

#endif
