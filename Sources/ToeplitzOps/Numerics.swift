import ToeplitzTensor

/// How much freedom kernels have in the order of the arithmetic.
public enum Numerics: String, Sendable, CaseIterable {
  /// One canonical order of multiply-adds for each output element, so that the bits of a result depend on neither the
  /// batch size, the number of threads, the tiling nor how a signal was cut into chunks.
  case invariant

  /// Convolutions may also use algorithms with fewer multiplications: Toom-Cook for the taps of one-dimensional
  /// kernels and Winograd for 3×3 and 2×2 ones. Results then differ from those of `.invariant` by rounding; their bits
  /// still depend on neither the batch size nor the number of threads. Never used where an input or a weight is not
  /// finite: such a convolution is computed as `.invariant`, all of its batch.
  case fast

  /// What operations begun by this task use: the innermost `Numerics.$current.withValue(…)` around the call, else
  /// what the environment variable `TOEPLITZ_NUMERICS` names, else `.invariant`.
  ///
  ///     let y = try Numerics.$current.withValue(.fast) { try generator(mel) }
  @TaskLocal public static var current: Numerics = preferred

  private static let preferred =
    EnvironmentVariable.numerics.value.flatMap(Numerics.init(rawValue:)) ?? .invariant
}
