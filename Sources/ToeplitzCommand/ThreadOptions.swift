import ArgumentParser
import Toeplitz

/// How many threads a command computes with.
struct ThreadOptions: ParsableArguments {
  @Option(help: "How many threads to use. (default: one for each processor)")
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads)") }
  }

  /// Lets the option take effect for the whole process.
  func apply() {
    if let threads { ThreadPool.shared.threadCount = threads }
  }
}
