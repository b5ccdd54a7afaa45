/* Engines for tests in C: the fake bundle's on devices that stand in for real ones. */
#ifndef STAND_IN_ENGINE_H
#define STAND_IN_ENGINE_H

#include "moediff_rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* On a few threads of the host; NULL params for defaults. Of params, the memory limit and the log
 * count. */
mdr_engine* stand_in_engine(const mdr_engine_params* params);
/* As it, but its decoder fails. */
mdr_engine* stand_in_broken_engine(const mdr_engine_params* params);

/* On a GPU acted out on the host, and what a program that has one would do with it. */
mdr_engine* stand_in_gpu_engine(void);
/* Whether the calling thread's GPU is the engine's, not its own. */
int stand_in_gpu_in_use(void);
void* stand_in_stream(mdr_engine* engine);
/* Device memory; whoever reads it without the engine's copies would be told so. */
float* stand_in_upload(mdr_engine* engine, const float* host, size_t count, void* stream);
void stand_in_download(mdr_engine* engine, float* host, const float* device, size_t count,
                       void* stream);
void stand_in_give_back(mdr_engine* engine, float* device);
/* What was not given back. */
int stand_in_live(mdr_engine* engine);
void stand_in_end_stream(mdr_engine* engine, void* stream);

#ifdef __cplusplus
}
#endif

#endif
