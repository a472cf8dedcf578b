import ToeplitzTensor

/// A value that a pickle describes.
///
/// Nothing is run to make one: a call of a function that is not known stays a description of the call.
enum PickleValue {
  case none
  case bool(Bool)
  case int(Int)
  /// A whole number of more than 64 bits, as its digits or bytes say it.
  case longInt(PickleBytes)
  case float(Double)
  case string(String)
  case bytes(PickleBytes)
  case tuple(PickleBox)
  case list(PickleBox)
  case set(PickleBox)
  case dictionary(PickleBox)
  /// A class or function.
  case global(PickleName)
  /// An instance of a class, or what a function would return.
  case object(PickleObject)
  case storage(PickleStorage)
  case tensor(PickleTensor)
}

/// The items of a list, tuple or set, or keys and values of a dictionary in turn; shared, as Python shares them.
final class PickleBox {
  var items: [PickleValue] = []
}

/// Bytes of the pickle, or bytes that were made of its text.
final class PickleBytes {
  private let contents: UnsafeRawBufferPointer
  private let made: [UInt8]?

  /// Bytes of the pickle, which outlives this.
  init(_ contents: UnsafeRawBufferPointer) {
    self.contents = contents
    made = nil
  }

  init(_ made: [UInt8]) {
    contents = UnsafeRawBufferPointer(start: nil, count: 0)
    self.made = made
  }

  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    guard let made else { return try body(contents) }
    return try made.withUnsafeBytes(body)
  }
}

/// A class or function of Python's, of which only the name is known.
struct PickleName: Hashable {
  /// The dotted name, in the spelling of Python 3 and NumPy 2.
  let full: String

  init(module: String, name: String) {
    let module = Self.renamed[module] ?? module
    let isOldNumPy = module.hasPrefix("numpy.core.")
    full = (isOldNumPy ? "numpy._core." + module.dropFirst("numpy.core.".count) : module) + "." + name
  }

  private static let renamed = [
    "__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib", "torch.cuda": "torch",
    "torch.storage": "torch",
  ]
}

/// A description of an object: what made it, with which arguments, and what was put into it afterwards.
final class PickleObject {
  let name: PickleName
  var arguments: [PickleValue]
  /// What its `__setstate__` or `__dict__` would get.
  var state: PickleValue?
  /// What is appended to it, if it is a kind of list.
  var list: [PickleValue] = []
  /// Keys and values in turn, if it is a kind of dictionary.
  var pairs: [PickleValue] = []

  init(_ name: PickleName, _ arguments: [PickleValue]) {
    self.name = name
    self.arguments = arguments
  }

  /// Lets go of all that it refers to.
  func clear() { (arguments, state, list, pairs) = ([], nil, [], []) }
}

/// A storage that tensors are views of.
struct PickleStorage {
  /// The name of its class, for errors.
  var type: String
  /// nil if its class does not say it.
  var element: PickleElement?
  var key: String
  /// Its elements, as the pickle says.
  var count: Int
  /// The elements of the storage of that key which it consists of, if it is a part of it.
  var part: (offset: Int, count: Int)?
  /// The folder of the archive that it lies in.
  var folder: String
}

/// What the elements of a storage are.
struct PickleElement: Hashable {
  enum Form { case plain, complex, quantized }

  /// The type in memory; of complex numbers that of their two parts.
  var dtype: DType
  var form: Form

  /// Bytes of one element.
  var byteSize: Int { form == .complex ? 2 * dtype.byteSize : dtype.byteSize }

  private init(_ dtype: DType, _ form: Form = .plain) { (self.dtype, self.form) = (dtype, form) }

  /// The elements of a storage class such as `torch.FloatStorage`.
  init?(storageClass name: PickleName) {
    guard let element = Self.storages[name.full] else { return nil }
    self = element
  }

  /// The elements of a `torch.dtype` such as `torch.float32`.
  init?(dtype name: PickleName) {
    guard let element = Self.dtypes[name.full] else { return nil }
    self = element
  }

  private static let storages: [String: PickleElement] = [
    "torch.FloatStorage": .init(.float32), "torch.DoubleStorage": .init(.float64), "torch.HalfStorage": .init(.float16),
    "torch.BFloat16Storage": .init(.bfloat16), "torch.CharStorage": .init(.int8), "torch.ByteStorage": .init(.uint8),
    "torch.ShortStorage": .init(.int16), "torch.IntStorage": .init(.int32), "torch.LongStorage": .init(.int64),
    "torch.BoolStorage": .init(.bool), "torch.ComplexFloatStorage": .init(.float32, .complex),
    "torch.ComplexDoubleStorage": .init(.float64, .complex), "torch.QInt8Storage": .init(.int8, .quantized),
    "torch.QUInt8Storage": .init(.uint8, .quantized), "torch.QInt32Storage": .init(.int32, .quantized),
  ]
  private static let dtypes: [String: PickleElement] = [
    "torch.float32": .init(.float32), "torch.float64": .init(.float64), "torch.float16": .init(.float16),
    "torch.bfloat16": .init(.bfloat16), "torch.int8": .init(.int8), "torch.uint8": .init(.uint8),
    "torch.int16": .init(.int16), "torch.uint16": .init(.uint16), "torch.int32": .init(.int32),
    "torch.uint32": .init(.uint32), "torch.int64": .init(.int64), "torch.uint64": .init(.uint64),
    "torch.bool": .init(.bool), "torch.float8_e4m3fn": .init(.float8E4M3FN),
    "torch.float8_e4m3fnuz": .init(.float8E4M3FNUZ), "torch.float8_e5m2": .init(.float8E5M2),
    "torch.float8_e5m2fnuz": .init(.float8E5M2FNUZ), "torch.float8_e8m0fnu": .init(.float8E8M0),
    "torch.complex32": .init(.float16, .complex), "torch.complex64": .init(.float32, .complex),
    "torch.complex128": .init(.float64, .complex), "torch.qint8": .init(.int8, .quantized),
    "torch.quint8": .init(.uint8, .quantized), "torch.qint32": .init(.int32, .quantized),
  ]
}

/// A tensor that a pickle describes; its elements are looked for when the pickle has been read.
final class PickleTensor {
  enum Form {
    case view(View)
    /// Codes, of which the numbers are `(code − zero point) · scale`.
    case quantized(View, PickleQuantization)
    case sparse(PickleSparse)
    /// One without elements in the file, for the given reason.
    case unreadable(String)
  }

  /// A view of a storage; sizes and strides count elements.
  struct View {
    var storage: PickleStorage
    var offset: Int
    var sizes: [Int]
    var strides: [Int]
    /// What the tensor says that its elements are, if its storage does not.
    var type: PickleName?
    /// Whether the imaginary parts have the other sign in memory.
    var isConjugate = false
    /// Whether the elements have the other sign in memory.
    var isNegative = false
  }

  let form: Form

  init(_ form: Form) { self.form = form }

  /// The tensor as a plain view, which the parts of others have to be.
  var view: View? { if case .view(let view) = form { view } else { nil } }
}

/// How codes become numbers.
enum PickleQuantization {
  case perTensor(scale: Double, zeroPoint: Int)
  case perChannel(scales: PickleTensor.View, zeroPoints: PickleTensor.View, axis: Int)
}

/// A tensor of which only some elements are stored.
struct PickleSparse {
  /// `torch.sparse_coo`, `torch.sparse_csr` or another.
  var layout: String
  /// Indices, then values.
  var parts: [PickleTensor.View]
  var sizes: [Int]
}
