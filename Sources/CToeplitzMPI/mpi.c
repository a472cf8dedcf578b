// Compiled to nothing unless the package trait MPI is on.
#ifdef TOEPLITZ_MPI

#if __has_include(<mpi.h>)
#include <mpi.h>
#elif __has_include(<mpi/mpi.h>)
#include <mpi/mpi.h>
#elif __has_include(<openmpi/mpi.h>)
#include <openmpi/mpi.h>
#else
#error "The package trait MPI needs Open MPI: apt-get install libopenmpi-dev openmpi-bin. Where its mpi.h lies elsewhere, name the folder in CPATH, and that of libmpi in LIBRARY_PATH."
#endif

#if defined(MPI_VERSION) && !defined(OPEN_MPI)
#error "The package trait MPI needs Open MPI, but this mpi.h is another MPI's. Name the folder of Open MPI's in CPATH, and that of its libmpi in LIBRARY_PATH."
#endif

#ifdef OPEN_MPI

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "CToeplitzMPI.h"

// Counts are ints in MPI.
static const size_t largest_message = (size_t)1 << 30;

int tz_mpi_start(int *rank, int *count, int *local_count) {
  int provided = 0, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
  if (code != MPI_SUCCESS) return code;
  if (provided < MPI_THREAD_SERIALIZED) return TZ_MPI_NO_THREADS;
  // Failures are to be told by Toeplitz.
  if ((code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)) != MPI_SUCCESS) return code;
  if ((code = MPI_Comm_rank(MPI_COMM_WORLD, rank)) != MPI_SUCCESS) return code;
  if ((code = MPI_Comm_size(MPI_COMM_WORLD, count)) != MPI_SUCCESS) return code;
  MPI_Comm local;
  code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
  if (code != MPI_SUCCESS) return code;
  code = MPI_Comm_size(local, local_count);
  MPI_Comm_free(&local);
  return code;
}

// Waits without keeping a processor busy, which the computation or another process may need.
static int wait_for(MPI_Request *request, MPI_Status *status) {
  const struct timespec pause = {0, 50 * 1000};
  for (int tries = 0;; tries++) {
    int done = 0, code = MPI_Test(request, &done, status);
    if (code != MPI_SUCCESS || done) return code;
    if (tries < 200) {
      sched_yield();
    } else {
      nanosleep(&pause, NULL);
    }
  }
}

int tz_mpi_exchange(const void *given, size_t given_count, void *received, size_t received_count, int partner) {
  size_t sent = 0, got = 0;
  bool is_first = true;
  while (is_first || sent < given_count || got < received_count) {
    const size_t out = given_count - sent < largest_message ? given_count - sent : largest_message;
    const size_t in = received_count - got < largest_message ? received_count - got : largest_message;
    MPI_Request receiving = MPI_REQUEST_NULL, sending = MPI_REQUEST_NULL;
    MPI_Status status;
    int code, arrived = 0;
    if (is_first || in > 0) {
      code = MPI_Irecv((char *)received + got, (int)in, MPI_BYTE, partner, 0, MPI_COMM_WORLD, &receiving);
      if (code != MPI_SUCCESS) return code;
    }
    if (is_first || out > 0) {
      code = MPI_Isend((const char *)given + sent, (int)out, MPI_BYTE, partner, 0, MPI_COMM_WORLD, &sending);
      if (code != MPI_SUCCESS) return code;
    }
    if (receiving != MPI_REQUEST_NULL) {
      if ((code = wait_for(&receiving, &status)) != MPI_SUCCESS) {
        return code == MPI_ERR_TRUNCATE || status.MPI_ERROR == MPI_ERR_TRUNCATE ? TZ_MPI_OTHER_SIZE : code;
      }
      if ((code = MPI_Get_count(&status, MPI_BYTE, &arrived)) != MPI_SUCCESS) return code;
      if ((size_t)arrived != in) return TZ_MPI_OTHER_SIZE;
    }
    if (sending != MPI_REQUEST_NULL && (code = wait_for(&sending, MPI_STATUS_IGNORE)) != MPI_SUCCESS) return code;
    sent += out;
    got += in;
    is_first = false;
  }
  return 0;
}

int tz_mpi_broadcast(void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const size_t part = count - done < largest_message ? count - done : largest_message;
    MPI_Request request;
    int code = MPI_Ibcast((char *)bytes + done, (int)part, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    if (code != MPI_SUCCESS || (code = wait_for(&request, MPI_STATUS_IGNORE)) != MPI_SUCCESS) return code;
    done += part;
  }
  return 0;
}

int tz_mpi_finish(void) { return MPI_Finalize(); }

void tz_mpi_abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

void tz_mpi_explain(int code, char *text, size_t size) {
  char message[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (code == TZ_MPI_NO_THREADS) {
    snprintf(message, sizeof message, "an MPI without support for threads");
  } else if (code == TZ_MPI_OTHER_SIZE) {
    snprintf(message, sizeof message, "another number of bytes than expected");
  } else if (MPI_Error_string(code, message, &length) != MPI_SUCCESS) {
    snprintf(message, sizeof message, "error %d of MPI", code);
  }
  snprintf(text, size, "%s", message);
}

#endif
#endif
