import ToeplitzCheckpoint
import ToeplitzTensor

extension Module {
  /// Sets all parameters and buffers from a checkpoint.
  @discardableResult
  public func load(_ checkpoint: Checkpoint, strict: Bool = true) throws -> LoadReport {
    try load(checkpoint.tensors, strict: strict)
  }

  /// Sets all parameters and buffers from the checkpoint at `path`, in any format that
  /// ``Checkpoint/init(contentsOf:)`` reads.
  @discardableResult
  public func load(contentsOf path: String, strict: Bool = true) throws -> LoadReport {
    try load(Checkpoint(contentsOf: path), strict: strict)
  }
}
