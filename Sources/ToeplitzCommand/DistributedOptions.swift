import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTraining

/// How a run of training is shared.
struct DistributedOptions: ParsableArguments {
  @Flag(help: "Share the run with the other processes that mpirun has started. (needs a build with MPI)")
  var distributed = false

  @Option(
    help: """
      Parts of a batch whose gradients are computed apart, a power of two: so many processes at most share a run, and with \
      the same number it ends with the same bits on any number of them. (default: 8 with --distributed, else 1)
      """)
  var shards: Int?

  func validate() throws {
    if let shards, shards < 1 { throw ValidationError("--shards must be at least 1, not \(shards)") }
  }

  var shardCount: Int { shards ?? (distributed ? 8 : 1) }

  /// Calls `body` with the processes that share the run; if it fails on one of them, all end.
  func run(_ threads: ThreadOptions, _ body: (any Communicator) throws -> Void) throws {
    threads.apply()
    guard distributed else { return try body(SingleProcess()) }
    #if MPI
      let processes = try MPICommunicator()
      // Unless mpirun has given each process processors of its own.
      let pool = ThreadPool.shared
      if threads.threads == nil, pool.threadCount >= ProcessInfo.processInfo.processorCount {
        pool.threadCount /= processes.localCount
      }
      do {
        try body(processes)
      } catch let code as ExitCode {
        try processes.finish()
        throw code
      } catch {
        // What fails on all, such as a missing file, is told by the first one only: it ends the others.
        Thread.sleep(forTimeInterval: 0.25 * Double(min(processes.rank, 16)))
        let reason = (error as? ToeplitzError)?.description ?? error.localizedDescription
        StandardStreams.fail("process \(processes.rank) of \(processes.count): \(reason)")
        processes.abort()
        throw ExitCode(1)
      }
      try processes.finish()
    #else
      throw ToeplitzError(
        .unsupported, "--distributed",
        expected: "a tool that was built with MPI (swift build -c release --traits default,MPI)", got: "one without")
    #endif
  }
}
