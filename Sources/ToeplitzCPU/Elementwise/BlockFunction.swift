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
  }
  /// Nil where the result is the operand as it is.
  var step: Step?
  /// The result's type.
  var type: DType

  static func unary(_ function: tz_unary, _ a: Double, _ b: Double) -> Step {
    Step(kind: TZ_STEP_UNARY, function: function.rawValue, a: Float(a), b: Float(b))
  }

  /// The function of an operation on operands of these types, if blocks can be computed with it.
  init?(_ operation: any TensorOperation, _ types: [DType]) {
    let isFloat = types.allSatisfy { $0 == .float32 || $0 == .float16 || $0 == .bfloat16 }
    switch operation {
    case let unary as any UnaryKernel:
      guard isFloat, let (function, a, b) = unary.vectorized else { return nil }
      self.init(step: Self.unary(function, a, b), type: types[0])
    case let binary as Binary:
      guard isFloat || types[0] == .bool, types[0] == types[1] else { return nil }
      self.init(
        step: Step(kind: TZ_STEP_PAIRS, function: binary.function.pairs.rawValue),
        type: binary.function.isComparison ? .bool : types[0])
    case let logical as Logical:
      let function: tz_pairs =
        switch logical.function {
        case .and: TZ_AND
        case .or: TZ_OR
        case .xor: TZ_XOR
        }
      self.init(step: Step(kind: TZ_STEP_PAIRS, function: function.rawValue), type: .bool)
    case let classify as Classify:
      guard isFloat || types[0] == .bool else { return nil }
      switch classify.question {
      case .isNaN: self.init(step: Self.unary(TZ_IS_NAN, 0, 0), type: .bool)
      case .isZero: self.init(step: Self.unary(TZ_NOT, 0, 0), type: .bool)
      case .isInfinite: return nil
      }
    case is Where:
      guard types[1] == types[2], [.float32, .float16, .bfloat16, .bool].contains(types[1]) else { return nil }
      self.init(step: Step(kind: TZ_STEP_SELECT, function: 0), type: types[1])
    case is Quantize:
      guard types[0] == .float32 else { return nil }
      let low: Float = types[2] == .uint8 ? 0 : -128
      self.init(step: Step(kind: TZ_STEP_QUANTIZE, function: 0, a: low, b: low + 255), type: types[2])
    case is Dequantize:
      guard types[0] == .uint8 || types[0] == .int8, types[1] == .float32 else { return nil }
      self.init(step: Step(kind: TZ_STEP_DEQUANTIZE, function: 0), type: .float32)
    case let cast as Cast: self.init(cast.dtype, from: types[0])
    default: return nil
    }
  }

  /// A conversion of types.
  private init?(_ type: DType, from source: DType) {
    switch (source, type) {
    case (.float16, .float32), (.bfloat16, .float32), (.bool, .float32), (.bool, .float16), (.bool, .bfloat16),
      (.int8, .float32), (.uint8, .float32), (.int32, .float32), (.int64, .float32):
      self.init(step: nil, type: type)
    case (.float32, .float16), (.float32, .bfloat16):
      // Rounding is what every step to half precision ends with.
      self.init(step: Self.unary(TZ_LEAKY_RELU, 1, 0), type: type)
    case (.float32, .bool), (.float16, .bool), (.bfloat16, .bool):
      self.init(step: Self.unary(TZ_TRUTH_OF, 0, 0), type: type)
    default: return nil
    }
  }

  private init(step: Step?, type: DType) { (self.step, self.type) = (step, type) }
}

extension Binary.Function {
  /// The kernels' function.
  var pairs: tz_pairs {
    switch self {
    case .add: TZ_ADD
    case .subtract: TZ_SUBTRACT
    case .multiply: TZ_MULTIPLY
    case .divide: TZ_DIVIDE
    case .power: TZ_POWER
    case .minimum: TZ_MINIMUM
    case .maximum: TZ_MAXIMUM
    case .equal: TZ_EQUAL
    case .notEqual: TZ_NOT_EQUAL
    case .less: TZ_LESS
    case .lessOrEqual: TZ_LESS_OR_EQUAL
    case .greater: TZ_GREATER
    case .greaterOrEqual: TZ_GREATER_OR_EQUAL
    }
  }
}

extension TensorOperation {
  /// The result where blocks of float32 numbers can be computed with this one operation, which has one result.
  func inBlocks(_ inputs: [Tensor], _ output: TensorSpec) throws -> Tensor? {
    let sources = inputs.indices.map { ElementwiseProgram.Source.input($0) }
    guard let program = ElementwiseProgram([(self, sources)], inputs: inputs.map(\.dtype)) else { return nil }
    return try program.run(inputs, shape: output.shape, name: name)
  }
}
