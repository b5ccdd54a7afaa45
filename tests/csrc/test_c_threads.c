/* Eight threads, each with its own session, share one engine. With a bundle's folder as its
 * argument it is a real one, else one that stands in. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>

#include "scan_for_c.h"
#ifdef STAND_IN
#include "stand_in_engine.h"
#endif

enum { THREADS = 8 };

typedef struct Worker {
  mdr_engine* engine;
  const float* scan;
  float* out;
  size_t voxels;
  int number;
  mdr_status good, bad;
  char error[256];
} Worker;

static void* work(void* data) {
  Worker* worker = data;
  mdr_session* session = NULL;
  /* Every other thread fails first, in its own way, while the others run. */
  const mdr_grid wrong = {NX, NY, -worker->number - 1, {2, 2, 2}};
  check(mdr_session_create(worker->engine, &session) == MDR_OK, "each thread makes a session");
  worker->bad = mdr_enhance(session, worker->scan, &wrong, NULL, worker->out, worker->voxels);
  worker->good = mdr_enhance(session, worker->scan, &kGrid, NULL, worker->out, worker->voxels);
  snprintf(worker->error, sizeof worker->error, "%s", mdr_last_error());
  mdr_session_free(session);
  return NULL;
}

static mdr_engine* open_engine(int count, char** words) {
  mdr_engine* engine = NULL;
#ifdef STAND_IN
  if (count < 2) return stand_in_engine(NULL);
#endif
  mdr_engine_params params = mdr_engine_default_params();
  params.engines_dir = "";
  check(count == 2 && mdr_engine_load(words[1], &params, &engine) == MDR_OK, "the engine loads");
  return engine;
}

int main(int count, char** words) {
  mdr_engine* engine = open_engine(count, words);
  mdr_grid output;
  check(mdr_output_grid(engine, &kGrid, NULL, &output) == MDR_OK, "the output grid is told");
  const size_t voxels = mdr_grid_voxels(&output);
  float* scan = make_scan();

  Worker workers[THREADS];
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i) {
    const Worker worker = {engine, scan, make_out(voxels), voxels, i, MDR_OK, MDR_OK, ""};
    workers[i] = worker;
  }
  /* One alone says what all must give. */
  work(&workers[0]);
  for (int i = 1; i < THREADS; ++i) {
    check(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "a thread starts");
  }
  work(&workers[0]);
  for (int i = 1; i < THREADS; ++i) pthread_join(threads[i], NULL);

  for (int i = 0; i < THREADS; ++i) {
    char words_of_its_own[32];
    snprintf(words_of_its_own, sizeof words_of_its_own, "20 x 18 x %d", -i - 1);
    check(workers[i].good == MDR_OK, "each thread's run goes well");
    check(memcmp(workers[i].out, workers[0].out, voxels * sizeof *scan) == 0,
          "all give the same voxels");
    check(workers[i].bad == MDR_INPUT_ERROR, "each thread's wrong call is refused");
    check(strstr(workers[i].error, words_of_its_own) != NULL, "each has an error of its own");
  }
  for (int i = 0; i < THREADS; ++i) free(workers[i].out);
  free(scan);
  mdr_engine_free(engine);
  puts("all claims hold");
  return 0;
}
