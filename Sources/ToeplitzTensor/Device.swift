/// Where a tensor lives and is computed.
public enum Device: Sendable, Hashable, CustomStringConvertible {
  /// The machine's processor.
  case cpu
  /// The graphics processor with this index.
  case gpu(Int)

  /// The first graphics processor.
  public static var gpu: Device { .gpu(0) }

  /// `cpu` or `gpu(n)`.
  public var description: String {
    switch self {
    case .cpu: "cpu"
    case .gpu(let index): "gpu(\(index))"
    }
  }

  /// Does nothing for a device that is present.
  ///
  /// - Throws: ``ToeplitzError`` of kind `device` for one that is not.
  package func requirePresent(_ operation: String) throws {
    guard case .cpu = self else {
      throw ToeplitzError(
        .device, operation, expected: "a device of this machine (cpu)", got: "\(self), and no such device is present")
    }
  }
}
