import ToeplitzTensor

/// Reads the pickle of a PyTorch state dictionary without running any code.
///
/// The format is Python's, protocols 2 to 5 (`Lib/pickletools.py`). Names that a pickle mentions must be on the list
/// of ``PickleGlobal``; whatever else it asks for is an error.
struct Unpickler {
  private var reader: ByteReader
  private let place: FilePlace
  /// Makes the tensor of a storage, an offset, sizes, strides and maybe an element type.
  private let tensor: (PickleStorage, Int, [Int], [Int], DType?) throws -> Tensor
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  /// All boxes made: emptied at the end one by one, or a long chain of them would be freed by as deep a recursion.
  private var boxes: [PickleBox] = []

  init(
    _ bytes: UnsafeRawBufferPointer, _ place: FilePlace,
    tensor: @escaping (PickleStorage, Int, [Int], [Int], DType?) throws -> Tensor
  ) {
    reader = ByteReader(bytes, place)
    self.place = place
    self.tensor = tensor
  }

  /// The tensors of the pickled value under dotted names, and its other values as text.
  mutating func stateDictionary() throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    defer { for box in boxes { box.items = [] } }
    let value = try run()
    var flat = PickleFlattener(place: place)
    try flat.add(value, "", depth: 0)
    return (flat.tensors, flat.metadata)
  }

  private func wrong(_ expected: String, _ got: String) -> ToeplitzError { place.malformed(expected, got: got) }

  private mutating func pop() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
      throw wrong("a value on the pickle's stack", "none")
    }
    return value
  }

  private mutating func popMarked() throws -> [PickleValue] {
    guard let mark = marks.popLast() else { throw wrong("a mark on the pickle's stack", "none") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func box(_ items: [PickleValue]) -> PickleBox {
    let box = PickleBox()
    box.items = items
    boxes.append(box)
    return box
  }

  private func top() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.last else {
      throw wrong("a value on the pickle's stack", "none")
    }
    return value
  }

  private mutating func text(_ count: Int) throws -> String {
    guard let text = String(validating: try reader.take(count, "text"), as: UTF8.self) else {
      throw wrong("text in UTF-8", "other bytes")
    }
    return text
  }

  /// Text up to the end of the line.
  private mutating func line() throws -> String {
    var bytes: [UInt8] = []
    while true {
      let byte = try reader.integer(UInt8.self, "a line")
      if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
      guard bytes.count < 1024 else { throw wrong("names of at most 1024 bytes", "a longer one") }
    }
  }

  private mutating func size32() throws -> Int { Int(try reader.integer(UInt32.self, "a length")) }
  private mutating func size8() throws -> Int { Int(try reader.integer(UInt8.self, "a length")) }

  /// A whole number of as many bytes as are given, lowest first.
  private mutating func long(_ count: Int) throws -> PickleValue {
    let bytes = try reader.take(count, "a number")
    guard count <= 8 else {
      // Seeds of random numbers can be longer; nothing that matters here is.
      return .none
    }
    var value: Int64 = bytes.last.map { $0 >= 0x80 } ?? false ? -1 : 0
    for byte in bytes.reversed() { value = value << 8 | Int64(byte) }
    return .int(Int(value))
  }

  /// Runs all opcodes up to the end.
  private static let mostHeld = 1 << 22

  private mutating func run() throws -> PickleValue {
    while true {
      // Each byte of a pickle can push a value that is many times as large, and zip archives hold a thousand bytes in one.
      guard stack.count + boxes.count + marks.count <= Self.mostHeld else {
        throw wrong("at most \(Self.mostHeld) values at a time", "more")
      }
      let opcode = try reader.integer(UInt8.self, "an opcode")
      if opcode == UInt8(ascii: ".") { return try pop() }
      if try !constant(opcode), try !container(opcode) { try special(opcode) }
    }
  }

  /// Opcodes that push a plain value.
  private mutating func constant(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "J"): stack.append(.int(Int(try reader.integer(Int32.self, "a number"))))
    case UInt8(ascii: "K"): stack.append(.int(try size8()))
    case UInt8(ascii: "M"): stack.append(.int(Int(try reader.integer(UInt16.self, "a number"))))
    case 0x8A: stack.append(try long(size8()))
    case 0x8B: stack.append(try long(size32()))
    case UInt8(ascii: "G"):
      stack.append(.float(Double(bitPattern: try reader.integer(UInt64.self, "a number").byteSwapped)))
    case UInt8(ascii: "X"): stack.append(.string(try text(size32())))
    case 0x8C: stack.append(.string(try text(size8())))
    case 0x8D: stack.append(.string(try text(reader.size("a length"))))
    case UInt8(ascii: "T"), UInt8(ascii: "B"):
      _ = try reader.take(size32(), "bytes")
      stack.append(.bytes)
    case UInt8(ascii: "U"), UInt8(ascii: "C"):
      _ = try reader.take(size8(), "bytes")
      stack.append(.bytes)
    default: return false
    }
    return true
  }

  /// Opcodes that make and fill lists, tuples and dictionaries.
  private mutating func container(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "}"): stack.append(.dictionary(box([])))
    case UInt8(ascii: "]"): stack.append(.list(box([])))
    case UInt8(ascii: ")"): stack.append(.tuple(box([])))
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "t"): stack.append(.tuple(box(try popMarked())))
    case UInt8(ascii: "l"): stack.append(.list(box(try popMarked())))
    case UInt8(ascii: "d"):
      let items = try popMarked()
      guard items.count % 2 == 0 else { throw wrong("a value for each key", "none") }
      stack.append(.dictionary(box(items)))
    case 0x85...0x87:
      var items: [PickleValue] = []
      for _ in 0x85...opcode { items.insert(try pop(), at: 0) }
      stack.append(.tuple(box(items)))
    case UInt8(ascii: "a"):
      let item = try pop()
      try list().items.append(item)
    case UInt8(ascii: "e"):
      let items = try popMarked()
      try list().items += items
    case UInt8(ascii: "s"):
      let (value, key) = (try pop(), try pop())
      try dictionary().items += [key, value]
    case UInt8(ascii: "u"):
      let items = try popMarked()
      guard items.count % 2 == 0 else { throw wrong("a value for each key", "none") }
      try dictionary().items += items
    default: return false
    }
    return true
  }

  private func list() throws -> PickleBox {
    guard case .list(let box) = try top() else { throw wrong("a list to append to", "another value") }
    return box
  }

  private func dictionary() throws -> PickleBox {
    guard case .dictionary(let box) = try top() else { throw wrong("a dictionary to add to", "another value") }
    return box
  }

  /// Opcodes of the stack, the memo, names and objects.
  private mutating func special(_ opcode: UInt8) throws {
    switch opcode {
    case 0x80:
      let version = try size8()
      guard (2...5).contains(version) else { throw wrong("pickle protocol 2 to 5", "\(version)") }
    case 0x95: _ = try reader.size("a frame")
    case UInt8(ascii: "0"): _ = try pop()
    case UInt8(ascii: "1"): _ = try popMarked()
    case UInt8(ascii: "q"): memo[try size8()] = try top()
    case UInt8(ascii: "r"): memo[try size32()] = try top()
    case 0x94: memo[memo.count] = try top()
    case UInt8(ascii: "h"): try recall(size8())
    case UInt8(ascii: "j"): try recall(size32())
    case UInt8(ascii: "c"):
      let module = try line()
      stack.append(.global(try global(module, line())))
    case 0x93:
      guard case .string(let name) = try pop(), case .string(let module) = try pop() else {
        throw wrong("a name", "another value")
      }
      stack.append(.global(try global(module, name)))
    case UInt8(ascii: "Q"): stack.append(.storage(try storage(pop())))
    case UInt8(ascii: "R"), 0x81:
      guard case .tuple(let arguments) = try pop(), case .global(let function) = try pop() else {
        throw wrong("a known name and its arguments", "another value")
      }
      stack.append(try build(function, arguments.items))
    case UInt8(ascii: "b"):
      // The attributes of a dictionary, such as PyTorch's `_metadata`, hold no tensors.
      _ = try pop()
    default: throw wrong("an opcode that state dictionaries have", "0x" + String(opcode, radix: 16))
    }
  }

  private mutating func recall(_ key: Int) throws {
    guard let value = memo[key] else { throw wrong("a value that was kept", "number \(key)") }
    stack.append(value)
  }

  private func global(_ module: String, _ name: String) throws -> PickleGlobal {
    guard let known = PickleGlobal(module: module, name: name) else {
      throw wrong("only tensors and plain values (nothing in a pickle is run)", "\(module).\(name)".quoted)
    }
    return known
  }

  /// A persistent identifier: `('storage', type, key, location, count)`.
  private func storage(_ identifier: PickleValue) throws -> PickleStorage {
    guard case .tuple(let box) = identifier, box.items.count >= 5, case .string("storage") = box.items[0],
      case .global(.storageType(let dtype)) = box.items[1], case .string(let key) = box.items[2]
    else { throw wrong("the identifier of a storage", "another value") }
    return PickleStorage(dtype: dtype, key: key)
  }

  private func numbers(_ value: PickleValue) throws -> [Int] {
    guard case .tuple(let box) = value else { throw wrong("sizes as a tuple", "another value") }
    return try box.items.map { item in
      guard case .int(let number) = item else { throw wrong("whole numbers as sizes", "another value") }
      return number
    }
  }

  /// What a call of an allowed name gives.
  private mutating func build(_ function: PickleGlobal, _ arguments: [PickleValue]) throws -> PickleValue {
    switch function {
    case .orderedDictionary:
      guard let first = arguments.first else { return .dictionary(box([])) }
      guard case .list(let pairs) = first else { throw wrong("a list of pairs", "another value") }
      return .dictionary(
        box(
          try pairs.items.flatMap { pair -> [PickleValue] in
            switch pair {
            case .tuple(let box) where box.items.count == 2, .list(let box) where box.items.count == 2: return box.items
            default: throw wrong("pairs of key and value", "another value")
            }
          }))
    case .rebuildTensor:
      guard arguments.count >= 4, case .storage(let storage) = arguments[0], case .int(let offset) = arguments[1] else {
        throw wrong("a storage, offset, sizes and strides", "other values")
      }
      var dtype: DType?
      if arguments.count > 6, case .global(.dtype(let named)) = arguments[6] { dtype = named }
      return .tensor(try tensor(storage, offset, numbers(arguments[2]), numbers(arguments[3]), dtype))
    case .rebuildParameter:
      guard case .tensor(let tensor)? = arguments.first else { throw wrong("a parameter's tensor", "another value") }
      return .tensor(tensor)
    case .size:
      guard case .tuple? = arguments.first else { throw wrong("sizes", "another value") }
      return arguments[0]
    case .device: return .none
    case .storageType, .dtype: throw wrong("a function that makes tensors", "a type")
    }
  }
}

/// Walks a pickled value and collects its tensors.
struct PickleFlattener {
  let place: FilePlace
  private(set) var tensors: [String: Tensor] = [:]
  private(set) var metadata: [String: String] = [:]
  private var count = 0
  /// A short pickle can refer to one list many times over.
  private static let mostValues = 1 << 20
  private static let mostDepth = 64

  init(place: FilePlace) { self.place = place }

  mutating func add(_ value: PickleValue, _ path: String, depth: Int) throws {
    count += 1
    guard count <= Self.mostValues, depth <= Self.mostDepth else {
      throw place.malformed("at most \(Self.mostValues) values nested \(Self.mostDepth) deep", got: "more")
    }
    switch value {
    case .tensor(let tensor):
      tensors[path] = tensor
    case .dictionary(let box):
      for index in stride(from: 0, to: box.items.count - 1, by: 2) {
        let name: String
        switch box.items[index] {
        case .string(let text): name = text
        case .int(let number): name = "\(number)"
        // Keys of other kinds belong to nothing that holds tensors.
        default: continue
        }
        try add(box.items[index + 1], path.isEmpty ? name : "\(path).\(name)", depth: depth + 1)
      }
    case .list(let box), .tuple(let box):
      for (index, item) in box.items.enumerated() {
        try add(item, path.isEmpty ? "\(index)" : "\(path).\(index)", depth: depth + 1)
      }
    case .int(let number): metadata[path] = "\(number)"
    case .float(let number): metadata[path] = "\(number)"
    case .bool(let flag): metadata[path] = flag ? "True" : "False"
    case .string(let text): metadata[path] = text
    case .none, .bytes, .global, .storage: break
    }
  }
}
