import ToeplitzOps
import ToeplitzTensor

/// The matrix product of rows `[…, in]` with a matrix, as a convolution of one tap whose weight is prepared once.
///
/// Operands are x, the matrix and maybe a bias `[out]`.
public struct LinearNode: GraphOperation {
  /// The name in errors and listings.
  public var name: String
  /// Whether the matrix is `[out, in]`; otherwise `[in, out]`.
  public var isTransposed: Bool
  private let forms = GeometryCache()

  /// A matrix product.
  public init(name: String, isTransposed: Bool) {
    self.name = name
    self.isTransposed = isTransposed
  }

  /// The matrix.
  public var rearrangedOperands: [Int] { [1] }

  /// Computes the product.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let x = try (inputs.first ?? nil).required(name, 0)
    let matrix = try (inputs.count > 1 ? inputs[1] : nil).required(name, 1)
    let bias = inputs.count > 2 ? inputs[2] : nil
    guard matrix.rank == 2, x.rank >= 1 else {
      throw ToeplitzError(.shape, name, expected: "a matrix and rows", got: "\(matrix.shape) and \(x.shape)")
    }
    let weight = try isTransposed ? matrix : matrix.transposed(0, 1)
    let (outputs, inner) = (weight.shape[0], weight.shape[1])
    guard x.shape[x.rank - 1] == inner else {
      throw ToeplitzError(
        .shape, name, expected: "as many columns left as rows right", got: "shapes \(x.shape) and \(matrix.shape)")
    }
    let shape = Shape(x.shape.dropLast() + [outputs])
    let rows = x.shape.dropLast().reduce(1, *)
    guard rows > 0, inner > 0, outputs > 0 else {
      let zeros = try Tensor.zeros(shape, dtype: x.dtype)
      return [try bias.map { try zeros + $0 } ?? zeros]
    }
    // Any number of rows has the same geometry.
    let form = try forms.form([], weight.shape) {
      (try ConvolutionGeometry(rank: 1, inChannels: inner, outChannels: outputs, kernelSize: 1), [])
    }
    let columns = weight.view(shape: [outputs, inner, 1], strides: weight.strides + [1], offset: weight.offset)
    let operation = ConvolutionOperation(form.geometry, layout: .channelsLast)
    return [try operation(x.reshaped([rows, inner]), weight: columns, bias: bias).reshaped(shape)]
  }
}
