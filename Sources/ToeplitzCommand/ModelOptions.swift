import ArgumentParser
import Toeplitz
import ToeplitzTensor

/// What commands that run models have in common.
struct ModelOptions: ParsableArguments {
  @Option(help: "How many threads to use. (default: one for each processor)")
  var threads: Int?

  @Option(
    help: """
      Refuse models whose tensors together take more megabytes than this. (default: 640, and 64 bytes for each byte of \
      the files; pictures count as the numbers they become)
      """)
  var memory: Int?

  @Option(
    help: """
      Refuse models whose first results take more seconds of processor time than this. (default: 8, and a second for each \
      megabyte of the files)
      """)
  var timeLimit: Double?

  @Flag(help: "Run the operations as they stand in the file, without fusing any.")
  var plain = false

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads)") }
    if let memory, !(1...(1 << 30)).contains(memory) {
      throw ValidationError("--memory must be at least 1, not \(memory)")
    }
    if let timeLimit, !(timeLimit > 0) { throw ValidationError("--time-limit must be above 0, not \(timeLimit)") }
  }

  /// Lets the options take effect for the whole process.
  ///
  /// - Returns: What has to be met before anything is written.
  func apply() -> Deadline {
    if let threads { ThreadPool.shared.threadCount = threads }
    Platform.nameMemoryOption("--memory")
    // A damaged file can ask for any amount of memory; what it can get is bounded by what is there.
    if let memory {
      Platform.limitMemory(to: memory << 20)
    } else if Platform.environment("TOEPLITZ_MEMORY_LIMIT") == nil {
      Platform.limitMemory(to: 640 << 20, perByteOfFiles: 64)
    }
    return Deadline(seconds: timeLimit, threads: ThreadPool.shared.threadCount)
  }
}
