import ArgumentParser
import Toeplitz
import ToeplitzTensor

/// What commands that run models have in common.
struct ModelOptions: ParsableArguments {
  @Option(help: "How many threads to use. (default: one for each processor)")
  var threads: Int?

  @Option(help: "Refuse models that make a tensor of more megabytes than this.")
  var largestTensor = 512

  @Flag(help: "Run the operations as they stand in the file, without joining any.")
  var plain = false

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads)") }
    guard (1...(1 << 30)).contains(largestTensor) else {
      throw ValidationError("--largest-tensor must be at least 1, not \(largestTensor)")
    }
  }

  /// Lets the options take effect for the whole process.
  func apply() {
    if let threads { ThreadPool.shared.threadCount = threads }
    // A damaged file can ask for any amount of memory; what it can get is bounded before it is read.
    Platform.largestTensor = largestTensor << 20
  }
}
