import ToeplitzTensor

/// A value that a pickle makes, as far as state dictionaries need them.
enum PickleValue {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case bytes
  case tuple(PickleBox)
  case list(PickleBox)
  case dictionary(PickleBox)
  /// A name of Python's that is on the list of those allowed.
  case global(PickleGlobal)
  case storage(PickleStorage)
  case tensor(Tensor)
}

/// The items of a list or tuple, or keys and values of a dictionary in turn; shared, as Python shares them.
final class PickleBox {
  var items: [PickleValue] = []
}

/// A storage that tensors are views of.
struct PickleStorage {
  /// nil if the tensor says it.
  var dtype: DType?
  var key: String
}

/// The names of Python's that a pickle may mention; none of them is called, their effect is known here.
enum PickleGlobal: Hashable {
  case orderedDictionary
  case rebuildTensor
  case rebuildParameter
  case storageType(DType?)
  case dtype(DType)
  case size
  case device

  /// The allowed name, if it is one.
  init?(module: String, name: String) {
    switch "\(module).\(name)" {
    case "collections.OrderedDict": self = .orderedDictionary
    case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
      self = .rebuildTensor
    case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state": self = .rebuildParameter
    case "torch.Size": self = .size
    case "torch.device": self = .device
    case "torch.storage.UntypedStorage", "torch.UntypedStorage", "torch.storage._UntypedStorage":
      self = .storageType(nil)
    default:
      guard module == "torch" else { return nil }
      if let dtype = Self.storageTypes[name] {
        self = .storageType(dtype)
      } else if let dtype = Self.dtypes[name] {
        self = .dtype(dtype)
      } else {
        return nil
      }
    }
  }

  private static let storageTypes: [String: DType] = [
    "FloatStorage": .float32, "DoubleStorage": .float64, "HalfStorage": .float16, "BFloat16Storage": .bfloat16,
    "CharStorage": .int8, "ByteStorage": .uint8, "ShortStorage": .int16, "IntStorage": .int32, "LongStorage": .int64,
    "BoolStorage": .bool,
  ]
  private static let dtypes: [String: DType] = [
    "float32": .float32, "float64": .float64, "float16": .float16, "bfloat16": .bfloat16, "int8": .int8,
    "uint8": .uint8, "int16": .int16, "uint16": .uint16, "int32": .int32, "uint32": .uint32, "int64": .int64,
    "uint64": .uint64, "bool": .bool, "float8_e4m3fn": .float8E4M3FN, "float8_e4m3fnuz": .float8E4M3FNUZ,
    "float8_e5m2": .float8E5M2, "float8_e5m2fnuz": .float8E5M2FNUZ, "float8_e8m0fnu": .float8E8M0,
  ]
}
