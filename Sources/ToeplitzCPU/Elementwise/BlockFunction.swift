import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// What an operation does with blocks of float32 numbers.
struct BlockFunction {
  /// A function of blocks and its parameters.
  struct Step {
    var kind: tz_step_kind
    var function: UInt32
    var a: Float = 0
    var b: Float = 0

    /// The step for operands and a result in certain registers.
    func onRegisters(_ operands: [Int], to register: Int) -> tz_step {
      func operand(_ at: Int) -> UInt8 { UInt8(at < operands.count ? operands[at] : operands[0]) }
      return tz_step(
        kind: UInt8(kind.rawValue), function: UInt8(function), to: UInt8(register),
        from: (operand(0), operand(1), operand(2)), a: a, b: b)
    }
  }
  /// Nil where the result is the operand as it is.
  var step: Step?
  /// The result's type.
  var type: DType

  static func unary(_ function: tz_unary, _ a: Double, _ b: Double) -> Step {
    Step(kind: TZ_STEP_UNARY, function: function.rawValue, a: Float(a), b: Float(b))
  }

  init(step: Step?, type: DType) { (self.step, self.type) = (step, type) }

  /// The function of an operation on operands of these types, if blocks can be computed with it.
  init?(_ operation: any TensorOperation, _ types: [DType]) {
    guard let function = (operation as? any BlockOperation)?.blockFunction(types) else { return nil }
    self = function
  }
}

/// An operation that blocks of elements can be computed with, at least for some types.
protocol BlockOperation: TensorOperation {
  /// The function for operands of these types; nil where there is none.
  func blockFunction(_ types: [DType]) -> BlockFunction?
}

extension DType {
  /// Whether blocks hold its numbers as float32, rounded after each step.
  var isBlockFloat: Bool { self == .float32 || self == .float16 || self == .bfloat16 }
}

extension TensorOperation {
  /// The result where blocks of float32 numbers can be computed with this one operation, which has one result.
  func inBlocks(_ inputs: [Tensor], _ output: TensorSpec) throws -> Tensor? {
    let sources = inputs.indices.map { ElementwiseProgram.Source.input($0) }
    guard let program = ElementwiseProgram([(self, sources)], inputs: inputs.map(\.dtype)) else { return nil }
    return try program.run(inputs, shape: output.shape, name: name)
  }
}
