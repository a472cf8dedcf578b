import ToeplitzTensor

/// The tensors of a file, and what is to be said about them.
struct FoundTensors: Sendable {
  var tensors: [String: Tensor] = [:]
  var metadata: [String: String] = [:]
  /// Names of tensors that cannot be read, with the reason.
  var unreadable: [String: ToeplitzError] = [:]
  /// What was done to tensors that are not as they were stored.
  var remarks: [String: String] = [:]
}
