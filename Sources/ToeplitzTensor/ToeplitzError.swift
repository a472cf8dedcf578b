/// The one error type that Toeplitz throws.
///
/// It names what was asked (`operation`), where in a model it happened (`path`), what would have been right
/// (`expected`) and what came (`got`), so that a server can log it and a user can act on it. Nothing that
/// input can reach stops the process.
public struct ToeplitzError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What class of mistake an error reports.
  public enum Kind: String, Sendable, Hashable {
    /// A tensor has the wrong rank or size, or a result would be empty or too large.
    case shape
    /// A tensor has the wrong element type.
    case dtype
    /// An option of an operation or a layer is not legal.
    case argument
    /// A device is asked for that this machine does not have.
    case device
    /// More memory is needed than the machine can give.
    case memory
    /// A file cannot be read or written.
    case file
    /// The bytes of a file break its format's rules.
    case format
    /// A checkpoint and a model do not fit together.
    case checkpoint
    /// A file is legal but asks for something that Toeplitz does not have.
    case unsupported
  }

  /// The class of the mistake.
  public var kind: Kind
  /// The operation, layer or file that refused, such as `ConvTranspose1d`.
  public var operation: String
  /// The dotted path of the layer inside its model, or empty.
  public var path: String
  /// What would have been accepted.
  public var expected: String
  /// What was given.
  public var got: String

  /// Creates an error.
  public init(_ kind: Kind, _ operation: String, expected: String, got: String, path: String = "") {
    self.kind = kind
    self.operation = operation
    self.path = path
    self.expected = expected
    self.got = got
  }

  /// One line: operation, path, expectation and finding.
  public var description: String {
    let place = path.isEmpty ? operation : "\(operation) (\(path))"
    return "\(place): expected \(expected), got \(got)"
  }

  /// The same error with `component` put in front of its path.
  package func inside(_ component: String) -> ToeplitzError {
    var error = self
    error.path = path.isEmpty ? component : "\(component).\(path)"
    return error
  }
}
