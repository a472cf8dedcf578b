import ToeplitzTensor

/// What calls of known functions give; all others stay descriptions.
extension Unpickler {
  /// The functions and classes whose effect is known here; none of them is run.
  private enum Function {
    case dictionary, list, tuple, set, bytes, encode, reconstruct
    case rebuildTensor, rebuildSparse, rebuildQuantized, rebuildParameter, rebuildTyped, withoutElements
    case firstArgument
  }

  private static let functions: [String: Function] = [
    "collections.OrderedDict": .dictionary, "collections.Counter": .dictionary, "builtins.dict": .dictionary,
    "collections.defaultdict": .dictionary, "builtins.list": .list, "collections.deque": .list,
    "builtins.tuple": .tuple, "builtins.set": .set, "builtins.frozenset": .set, "builtins.bytearray": .bytes,
    "builtins.bytes": .bytes, "_codecs.encode": .encode, "copyreg._reconstructor": .reconstruct,
    "copyreg.__newobj__": .reconstruct, "torch._utils._rebuild_tensor": .rebuildTensor,
    "torch._utils._rebuild_tensor_v2": .rebuildTensor, "torch._utils._rebuild_tensor_v3": .rebuildTensor,
    "torch._utils._rebuild_sparse_tensor": .rebuildSparse,
    "torch._utils._rebuild_sparse_csr_tensor": .rebuildSparse, "torch._utils._rebuild_qtensor": .rebuildQuantized,
    "torch._utils._rebuild_parameter": .rebuildParameter,
    "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
    "torch.nn.parameter.Parameter": .rebuildParameter, "torch.nn.parameter.Buffer": .rebuildParameter,
    "torch.autograd.variable.Variable": .rebuildParameter, "torch._tensor._rebuild_from_type_v2": .rebuildTyped,
    "torch._tensor._rebuild_from_type": .rebuildTyped, "torch.tensor._rebuild_from_type": .rebuildTyped,
    "torch._utils._rebuild_meta_tensor_no_storage": .withoutElements,
    "torch._utils._rebuild_wrapper_subclass": .withoutElements,
    "torch.nn.parameter.UninitializedParameter": .withoutElements,
    "torch.nn.parameter.UninitializedBuffer": .withoutElements,
    "torch._utils._rebuild_device_tensor_from_numpy": .firstArgument,
    "torch._utils._rebuild_xla_tensor": .firstArgument, "torch.Size": .firstArgument,
    "torch.serialization._get_layout": .firstArgument, "torch.jit._pickle.build_tensorlist": .firstArgument,
    "torch.jit._pickle.build_intlist": .firstArgument, "torch.jit._pickle.build_doublelist": .firstArgument,
    "torch.jit._pickle.build_boollist": .firstArgument, "torch.jit._pickle.restore_type_tag": .firstArgument,
  ]

  /// What a call gives.
  mutating func call(_ callee: PickleValue, _ arguments: [PickleValue]) throws -> PickleValue {
    switch callee {
    case .global(let name):
      guard let function = Self.functions[name.full] else { return described(name, arguments) }
      return try apply(function, name, arguments)
    // A call of what another call gave.
    case .object(let object): return described(object.name, [callee] + arguments)
    default: throw wrong("a class or function to call", "another value")
    }
  }

  private mutating func apply(
    _ function: Function, _ name: PickleName, _ arguments: [PickleValue]
  ) throws -> PickleValue {
    switch function {
    case .dictionary: return .dictionary(box(try pairs(arguments, name)))
    case .list: return .list(box(try items(arguments.first, name)))
    case .tuple: return .tuple(box(try items(arguments.first, name)))
    case .set: return .set(box(try items(arguments.first, name)))
    case .bytes, .encode:
      guard let first = arguments.first else { return .bytes(PickleBytes([])) }
      guard case .string(let text) = first else { return first }
      guard let bytes = PickleText.latin1(text) else { return described(name, arguments) }
      return .bytes(PickleBytes(bytes))
    case .reconstruct:
      guard let first = arguments.first else { throw wrong("a class to make an object of", "none") }
      // `_reconstructor` has a base class and its value, which is nothing but for lists and dictionaries.
      let value = arguments.dropFirst(name.full == "copyreg._reconstructor" ? 2 : 1)
      return try callInner(first, value.filter { if case .none = $0 { false } else { true } })
    case .rebuildTensor: return .tensor(try rebuildTensor(arguments))
    case .rebuildSparse: return .tensor(try rebuildSparse(arguments))
    case .rebuildQuantized: return .tensor(try rebuildQuantized(arguments))
    case .rebuildParameter:
      guard let first = arguments.first else { throw wrong("a parameter's tensor", "none") }
      if case .tensor = first { return first }
      if case .object = first { return first }
      throw wrong("a parameter's tensor", "another value")
    case .rebuildTyped:
      guard arguments.count >= 3, case .tuple(let inner) = arguments[2] else {
        throw wrong("a function, a type and arguments", "other values")
      }
      return try callInner(arguments[0], inner.items)
    case .withoutElements: return .tensor(PickleTensor(.unreadable("one whose elements are not in the file")))
    case .firstArgument:
      guard let first = arguments.first else { throw wrong("an argument of \(name.full)", "none") }
      return first
    }
  }

  /// A call by a function that calls what it is given; calls of calls would nest as deep as a file likes.
  private mutating func callInner(_ callee: PickleValue, _ arguments: [PickleValue]) throws -> PickleValue {
    if case .global(let name) = callee, let function = Self.functions[name.full] {
      guard function != .reconstruct, function != .rebuildTyped else {
        throw wrong("a class or function that is called directly", name.full.quoted)
      }
    }
    return try call(callee, arguments)
  }

  private func items(_ value: PickleValue?, _ name: PickleName) throws -> [PickleValue] {
    switch value {
    case nil: return []
    case .list(let box), .tuple(let box), .set(let box): return box.items
    default: throw wrong("a list as the argument of \(name.full)", "another value")
    }
  }

  /// Keys and values of a dictionary that a call makes.
  private func pairs(_ arguments: [PickleValue], _ name: PickleName) throws -> [PickleValue] {
    switch arguments.last {
    case nil, .none?, .global: return []
    case .dictionary(let box): return box.items
    case .list(let list), .tuple(let list):
      return try list.items.flatMap { pair -> [PickleValue] in
        switch pair {
        case .tuple(let box) where box.items.count == 2, .list(let box) where box.items.count == 2: return box.items
        default: throw wrong("pairs of key and value", "another value")
        }
      }
    // What makes missing values.
    case .object where name.full == "collections.defaultdict": return []
    default: throw wrong("pairs of key and value", "another value")
    }
  }

  // MARK: - Tensors

  /// A persistent identifier: `('storage', class, key, location, count, part)`, or `('module', class, …)`.
  mutating func persistent(_ identifier: PickleValue) throws -> PickleValue {
    guard case .tuple(let box) = identifier, case .string(let kind)? = box.items.first, box.items.count >= 2,
      case .global(let name) = box.items[1]
    else { throw wrong("the identifier of a storage", "another value") }
    // The source text of a module's class lies beside its name.
    if kind == "module" { return .global(name) }
    guard kind == "storage", box.items.count >= 5, case .string(let key) = box.items[2],
      case .int(let count) = box.items[4]
    else { throw wrong("the identifier of a storage", "another value") }
    var storage = PickleStorage(
      type: name.full, element: PickleElement(storageClass: name), key: key, count: count, folder: folder)
    if box.items.count > 5, case .tuple(let part) = box.items[5] {
      guard part.items.count == 3, case .int(let offset) = part.items[1], case .int(let length) = part.items[2] else {
        throw wrong("a key, an offset and a length of a storage's part", "other values")
      }
      storage.part = (offset, length)
    }
    // Storages without a type are counted in bytes.
    if storageElementSizes[key] == nil { storageElementSizes[key] = storage.element?.byteSize ?? 1 }
    return .storage(storage)
  }

  private func numbers(_ value: PickleValue) throws -> [Int] {
    switch value {
    case .tuple(let box), .list(let box):
      return try box.items.map { item in
        guard case .int(let number) = item else { throw wrong("whole numbers as sizes", "another value") }
        return number
      }
    default: throw wrong("sizes as a tuple", "another value")
    }
  }

  private func view(_ arguments: [PickleValue]) throws -> PickleTensor.View {
    guard arguments.count >= 4, case .storage(let storage) = arguments[0], case .int(let offset) = arguments[1] else {
      throw wrong("a storage, offset, sizes and strides", "other values")
    }
    return PickleTensor.View(
      storage: storage, offset: offset, sizes: try numbers(arguments[2]), strides: try numbers(arguments[3]))
  }

  private func rebuildTensor(_ arguments: [PickleValue]) throws -> PickleTensor {
    var view = try view(arguments)
    // The element type (since version 3) and the bits of lazy signs stand behind the hooks.
    for argument in arguments.dropFirst(6) {
      switch argument {
      case .global(let name): view.type = name
      case .dictionary(let marks):
        for index in stride(from: 0, to: marks.items.count - 1, by: 2) {
          guard case .string(let key) = marks.items[index], case .bool(true) = marks.items[index + 1] else { continue }
          if key == "conj" { view.isConjugate = true }
          if key == "neg" { view.isNegative = true }
        }
      default: break
      }
    }
    return PickleTensor(.view(view))
  }

  private func rebuildSparse(_ arguments: [PickleValue]) throws -> PickleTensor {
    guard arguments.count >= 2, case .string(let layout) = arguments[0], case .tuple(let box) = arguments[1] else {
      throw wrong("a layout and the parts of a sparse tensor", "other values")
    }
    var parts: [PickleTensor.View] = []
    var sizes: [Int] = []
    for item in box.items {
      switch item {
      case .tensor(let tensor):
        guard let view = tensor.view else { throw wrong("plain tensors as parts of a sparse one", "another") }
        parts.append(view)
      case .tuple, .list: sizes = try numbers(item)
      default: break
      }
    }
    return PickleTensor(.sparse(PickleSparse(layout: layout, parts: parts, sizes: sizes)))
  }

  private func rebuildQuantized(_ arguments: [PickleValue]) throws -> PickleTensor {
    let codes = try view(arguments)
    guard arguments.count >= 5, case .tuple(let box) = arguments[4], case .global(let scheme)? = box.items.first else {
      throw wrong("how codes become numbers", "another value")
    }
    switch (scheme.full, box.items.count) {
    case ("torch.per_tensor_affine", 3...):
      guard case .float(let scale) = box.items[1], case .int(let zeroPoint) = box.items[2] else { break }
      return PickleTensor(.quantized(codes, .perTensor(scale: scale, zeroPoint: zeroPoint)))
    case ("torch.per_channel_affine", 4...):
      guard case .tensor(let scales) = box.items[1], case .tensor(let zeroPoints) = box.items[2],
        case .int(let axis) = box.items[3], let scales = scales.view, let zeroPoints = zeroPoints.view
      else { break }
      return PickleTensor(.quantized(codes, .perChannel(scales: scales, zeroPoints: zeroPoints, axis: axis)))
    default: return PickleTensor(.unreadable("one quantised as \(scheme.full)"))
    }
    throw wrong("a scale and a zero point", "other values")
  }
}
