#ifndef CTOEPLITZMPI_H
#define CTOEPLITZMPI_H

#include <stddef.h>

// What training asks of MPI, as functions: MPI's handles and constants are macros, which Swift does not see. The functions are
// there only where the package trait MPI is on. Each returns 0 or a code of which tz_mpi_explain tells the meaning. Only one thread at a
// time calls them.

/// MPI has no threads, or fewer than are needed.
#define TZ_MPI_NO_THREADS (-1)
/// The partner has given another number of bytes.
#define TZ_MPI_OTHER_SIZE (-2)

/// Begins; gives the number of this process, how many there are, and how many of them on this machine.
int tz_mpi_start(int *rank, int *count, int *local_count);
/// Gives bytes to a partner, which calls this too, and gets as many of it as are expected.
int tz_mpi_exchange(const void *given, size_t given_count, void *received, size_t received_count, int partner);
/// Gives the bytes of process 0 to all.
int tz_mpi_broadcast(void *bytes, size_t count);
/// Ends, when all have called it.
int tz_mpi_finish(void);
/// Ends all processes at once.
void tz_mpi_abort(int status);
/// Writes what a code means, at most `size` characters with the 0 at the end.
void tz_mpi_explain(int code, char *text, size_t size);

#endif
