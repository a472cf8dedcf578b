/// The environment variables that Toeplitz reads when a process begins to compute.
///
/// A variable that is set to something else than it takes is an error: of the first operation that is computed, and of
/// ``check()``, which a program may call before. One that is empty counts as not set.
public enum EnvironmentVariable: String, Sendable, CaseIterable {
  /// The highest instruction set to use.
  case instructionSet = "TOEPLITZ_ISA"
  /// How many threads take part in an operation.
  case threads = "TOEPLITZ_NUM_THREADS"
  /// Whether each thread stays on a processor of its own.
  case pinnedThreads = "TOEPLITZ_PIN_THREADS"
  /// How much freedom kernels have in the order of the arithmetic.
  case numerics = "TOEPLITZ_NUMERICS"
  /// The most megabytes that all tensors together may take.
  case memoryLimit = "TOEPLITZ_MEMORY_LIMIT"

  /// Throws unless all variables have values that they take.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the first wrong one and what it takes.
  public static func check() throws {
    if let wrong { throw wrong }
  }

  private static let wrong: ToeplitzError? = {
    for variable in allCases {
      guard let value = variable.value, !variable.accepts(value) else { continue }
      let shown = String(
        String.UnicodeScalarView(value.unicodeScalars.prefix(80).filter { (32..<127).contains($0.value) }))
      return ToeplitzError(
        .argument, "environment variable \(variable.rawValue)", expected: variable.expected,
        got: "'\(shown)'")
    }
    return nil
  }()

  /// What it is set to; nil if it is not, or empty.
  package var value: String? { Platform.environment(rawValue).flatMap { $0.isEmpty ? nil : $0 } }

  /// The words that it takes; none if it takes numbers.
  package var words: [String] {
    switch self {
    case .instructionSet: ["baseline", "avx2", "avx512"]
    case .pinnedThreads: ["0", "1"]
    case .numerics: ["invariant", "fast"]
    case .threads, .memoryLimit: []
    }
  }

  private var expected: String {
    switch self {
    case .threads: "a number of threads from 1"
    case .memoryLimit: "a number of megabytes from 1"
    default: words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    }
  }

  /// Whether it may be set to that.
  package func accepts(_ value: String) -> Bool {
    words.isEmpty ? (Int(value) ?? 0) >= 1 : words.contains(value)
  }
}
