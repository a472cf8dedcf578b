import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The vector instruction sets that kernels are compiled for.
public enum InstructionSet: String, Sendable, CaseIterable, Comparable {
  /// SSE2 on x86-64, NEON on arm64.
  case baseline
  /// AVX2 with FMA.
  case avx2
  /// AVX-512 F, VL, BW and DQ.
  case avx512

  /// The best of this processor.
  public static let best = InstructionSet(tz_best_isa())

  /// All that this processor can run, slowest first.
  public static var available: [InstructionSet] { allCases.filter { $0 <= best } }

  /// The one in use: the best, or what the environment variable `TOEPLITZ_ISA` names if that is lower.
  public static var current: InstructionSet { override ?? preferred }

  /// Set by tests to run every path of this machine in one process.
  @TaskLocal package static var override: InstructionSet?

  private static let preferred: InstructionSet = {
    let wanted = EnvironmentVariable.instructionSet.value.flatMap(InstructionSet.init(rawValue:))
    return min(wanted ?? best, best)
  }()

  /// Order of speed.
  public static func < (a: InstructionSet, b: InstructionSet) -> Bool { a.code.rawValue < b.code.rawValue }

  /// The number the kernels know it by.
  var code: tz_isa {
    switch self {
    case .baseline: TZ_ISA_BASELINE
    case .avx2: TZ_ISA_AVX2
    case .avx512: TZ_ISA_AVX512
    }
  }

  private init(_ code: tz_isa) {
    self = code == TZ_ISA_AVX512 ? .avx512 : code == TZ_ISA_AVX2 ? .avx2 : .baseline
  }
}
