/* What spool_files, which decides, and spool_jobs share. */
#ifndef SPOOL_JOBS_PRIV_H
#define SPOOL_JOBS_PRIV_H

#include "spool_priv.h"

/* ---- spool_files ---- */
uint32_t spool_files_target(const struct spool_log *log); /* segments ready to be used */
/* A few more than wanted are kept, except where nobody will write. */
uint32_t spool_files_spares_max(const struct spool_log *log);
/* Files that are gone cannot say any more which ids have been used: only while a newer one does. */
bool spool_files_may_discard(const struct spool_log *log);

/* ---- spool_jobs ---- */
void spool_job_make(struct spool_job *job);
void spool_job_promote(struct spool_job *job); /* the first spare */
void spool_job_recycle(struct spool_job *job, struct spool_segment *seg);
/* Turns whatever the job was into the removal of the file named by `path`. */
void spool_job_discard(struct spool_job *job, int fd, const char *path);

#endif
