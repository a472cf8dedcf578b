import ToeplitzTensor

/// Reads a pickle without running any code: what it asks to call becomes a description of the call.
///
/// The format is Python's, protocols 0 to 5 (`Lib/pickletools.py`).
struct Unpickler {
  var reader: ByteReader
  let place: FilePlace
  /// The folder of the archive that storages lie in.
  let folder: String
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  /// All that refers to values: emptied at the end one by one, or a long chain would be freed by as deep a recursion.
  private var boxes: [PickleBox] = []
  private var objects: [PickleObject] = []
  /// Items that were put into boxes and objects; a short pickle can put one value into a list many times.
  private var itemCount = 0

  /// Bytes of an element of each storage that was named, by key.
  var storageElementSizes: [String: Int] = [:]

  private static let mostHeld = 1 << 22
  private static let mostItems = 1 << 24
  /// Names of classes are short.
  private static let longestName = 1024

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace, folder: String = "") {
    reader = ByteReader(bytes, place)
    self.place = place
    self.folder = folder
  }

  /// Empties all that was made; values must not be used afterwards.
  func clear() {
    for box in boxes { box.items = [] }
    for object in objects { object.clear() }
  }

  /// Reads one pickle and stops behind it.
  mutating func value() throws -> PickleValue {
    (stack, marks, memo) = ([], [], [:])
    while true {
      // Each byte of a pickle can push a value that is many times as large, and zip archives hold a thousand bytes in one.
      guard stack.count + boxes.count + objects.count + marks.count + memo.count / 4 <= Self.mostHeld,
        itemCount <= Self.mostItems
      else { throw wrong("at most \(Self.mostHeld) values at a time", "more") }
      let opcode = try reader.integer(UInt8.self, "an opcode")
      if opcode == UInt8(ascii: ".") { return try pop() }
      if try !constant(opcode), try !text(opcode), try !container(opcode), try !object(opcode) { try special(opcode) }
    }
  }

  func wrong(_ expected: String, _ got: String) -> ToeplitzError { place.malformed(expected, got: got) }

  // MARK: - The stack

  private mutating func pop() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
      throw wrong("a value on the pickle's stack", "none")
    }
    return value
  }

  private mutating func popMarked() throws -> [PickleValue] {
    guard let mark = marks.popLast() else { throw wrong("a mark on the pickle's stack", "none") }
    defer { stack.removeSubrange(mark...) }
    itemCount += stack.count - mark
    return Array(stack[mark...])
  }

  private func top() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.last else {
      throw wrong("a value on the pickle's stack", "none")
    }
    return value
  }

  mutating func box(_ items: [PickleValue]) -> PickleBox {
    let box = PickleBox()
    box.items = items
    boxes.append(box)
    return box
  }

  mutating func described(_ name: PickleName, _ arguments: [PickleValue]) -> PickleValue {
    let object = PickleObject(name, arguments)
    objects.append(object)
    return .object(object)
  }

  private mutating func size32() throws -> Int { Int(try reader.integer(UInt32.self, "a length")) }
  private mutating func size8() throws -> Int { Int(try reader.integer(UInt8.self, "a length")) }

  // MARK: - Opcodes

  /// Opcodes that push a plain value.
  private mutating func constant(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "J"): stack.append(.int(Int(try reader.integer(Int32.self, "a number"))))
    case UInt8(ascii: "K"): stack.append(.int(try size8()))
    case UInt8(ascii: "M"): stack.append(.int(Int(try reader.integer(UInt16.self, "a number"))))
    case 0x8A: stack.append(try number(size8()))
    case 0x8B: stack.append(try number(size32()))
    case UInt8(ascii: "G"):
      stack.append(.float(Double(bitPattern: try reader.integer(UInt64.self, "a number").byteSwapped)))
    case UInt8(ascii: "X"): stack.append(.string(try unicode(size32())))
    case 0x8C: stack.append(.string(try unicode(size8())))
    case 0x8D: stack.append(.string(try unicode(reader.size("a length"))))
    // What Python 2 called text may be bytes.
    case UInt8(ascii: "T"): stack.append(PickleText.textOrBytes(try reader.take(size32(), "text")))
    case UInt8(ascii: "U"): stack.append(PickleText.textOrBytes(try reader.take(size8(), "text")))
    case UInt8(ascii: "B"): stack.append(.bytes(PickleBytes(try reader.take(size32(), "bytes"))))
    case UInt8(ascii: "C"): stack.append(.bytes(PickleBytes(try reader.take(size8(), "bytes"))))
    case 0x8E, 0x96: stack.append(.bytes(PickleBytes(try reader.take(reader.size("a length"), "bytes"))))
    default: return false
    }
    return true
  }

  /// A whole number of as many bytes as are given, lowest first.
  private mutating func number(_ count: Int) throws -> PickleValue {
    let bytes = try reader.take(count, "a number")
    guard count <= 8 else { return .longInt(PickleBytes(bytes)) }
    var value: Int64 = bytes.last.map { $0 >= 0x80 } ?? false ? -1 : 0
    for byte in bytes.reversed() { value = value << 8 | Int64(byte) }
    return .int(Int(value))
  }

  private mutating func unicode(_ count: Int) throws -> String {
    guard let text = String(validating: try reader.take(count, "text"), as: UTF8.self) else {
      throw wrong("text in UTF-8", "other bytes")
    }
    return text
  }

  /// Opcodes of protocol 0, whose values are lines of text.
  private mutating func text(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "F"):
      let line = try line(atMost: Self.longestName)
      guard let value = Double(line) else { throw wrong("a number", line.quoted) }
      stack.append(.float(value))
    case UInt8(ascii: "I"):
      let line = try line(atMost: Self.longestName)
      switch line {
      case "00": stack.append(.bool(false))
      case "01": stack.append(.bool(true))
      default: stack.append(try PickleText.number(line, place))
      }
    case UInt8(ascii: "L"):
      let line = try line(atMost: Self.longestName)
      stack.append(try PickleText.number(line.hasSuffix("L") ? String(line.dropLast()) : line, place))
    case UInt8(ascii: "S"): stack.append(try PickleText.quoted(reader.line("text"), place))
    case UInt8(ascii: "V"): stack.append(.string(try PickleText.unicode(reader.line("text"), place)))
    default: return false
    }
    return true
  }

  private mutating func line(atMost length: Int) throws -> String {
    let line = try reader.line("a line")
    guard line.count <= length else { throw wrong("lines of at most \(length) bytes", "a longer one") }
    return String(decoding: line, as: UTF8.self)
  }

  /// Opcodes that make and fill lists, tuples, sets and dictionaries.
  private mutating func container(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "}"): stack.append(.dictionary(box([])))
    case UInt8(ascii: "]"): stack.append(.list(box([])))
    case UInt8(ascii: ")"): stack.append(.tuple(box([])))
    case 0x8F: stack.append(.set(box([])))
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "t"): stack.append(.tuple(box(try popMarked())))
    case UInt8(ascii: "l"): stack.append(.list(box(try popMarked())))
    case 0x91: stack.append(.set(box(try popMarked())))
    case UInt8(ascii: "d"): stack.append(.dictionary(box(try pairs())))
    case 0x85...0x87:
      var items: [PickleValue] = []
      for _ in 0x85...opcode { items.insert(try pop(), at: 0) }
      stack.append(.tuple(box(items)))
    case UInt8(ascii: "a"): try append([pop()])
    case UInt8(ascii: "e"): try append(popMarked())
    case 0x90:
      let items = try popMarked()
      guard case .set(let box) = try top() else { throw wrong("a set to add to", "another value") }
      box.items += items
    case UInt8(ascii: "s"):
      let (value, key) = (try pop(), try pop())
      try set([key, value])
    case UInt8(ascii: "u"): try set(pairs())
    default: return false
    }
    return true
  }

  private mutating func pairs() throws -> [PickleValue] {
    let items = try popMarked()
    guard items.count % 2 == 0 else { throw wrong("a value for each key", "none") }
    return items
  }

  private mutating func append(_ items: [PickleValue]) throws {
    itemCount += items.count
    switch try top() {
    case .list(let box): box.items += items
    case .object(let object): object.list += items
    default: throw wrong("a list to append to", "another value")
    }
  }

  private mutating func set(_ pairs: [PickleValue]) throws {
    itemCount += pairs.count
    switch try top() {
    case .dictionary(let box): box.items += pairs
    case .object(let object): object.pairs += pairs
    default: throw wrong("a dictionary to add to", "another value")
    }
  }

  /// Opcodes that name classes and functions and describe what they would make.
  private mutating func object(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "c"): stack.append(.global(try name()))
    case 0x93:
      guard case .string(let name) = try pop(), case .string(let module) = try pop() else {
        throw wrong("a name", "another value")
      }
      stack.append(.global(PickleName(module: module, name: name)))
    case 0x82: stack.append(extensionName(try size8()))
    case 0x83: stack.append(extensionName(Int(try reader.integer(UInt16.self, "a number"))))
    case 0x84: stack.append(extensionName(Int(try reader.integer(Int32.self, "a number"))))
    case UInt8(ascii: "Q"): stack.append(try persistent(pop()))
    case UInt8(ascii: "R"), 0x81:
      guard case .tuple(let arguments) = try pop() else { throw wrong("arguments as a tuple", "another value") }
      stack.append(try call(pop(), arguments.items))
    case 0x92:
      // Arguments by name follow those by position; no known class has any.
      guard case .dictionary(let named) = try pop(), case .tuple(let arguments) = try pop() else {
        throw wrong("arguments as a tuple and a dictionary", "other values")
      }
      stack.append(try call(pop(), arguments.items + (named.items.isEmpty ? [] : [.dictionary(named)])))
    case UInt8(ascii: "i"):
      let name = try name()
      stack.append(try call(.global(name), popMarked()))
    case UInt8(ascii: "o"):
      let values = try popMarked()
      guard let callee = values.first else { throw wrong("a class", "none") }
      stack.append(try call(callee, Array(values.dropFirst())))
    case UInt8(ascii: "b"):
      let state = try pop()
      // The attributes of a dictionary, such as PyTorch's `_metadata`, hold no tensors; nor do those of a tensor.
      if case .object(let object) = try top() { object.state = state }
    default: return false
    }
    return true
  }

  private mutating func name() throws -> PickleName {
    let module = try line(atMost: Self.longestName)
    return PickleName(module: module, name: try line(atMost: Self.longestName))
  }

  private func extensionName(_ code: Int) -> PickleValue {
    .global(PickleName(module: "copyreg", name: "extension \(code)"))
  }

  /// Opcodes of the stack and the memo.
  private mutating func special(_ opcode: UInt8) throws {
    switch opcode {
    case 0x80:
      let version = try size8()
      guard version <= 5 else { throw wrong("pickle protocol 0 to 5", "\(version)") }
    case 0x95: _ = try reader.size("a frame")
    case UInt8(ascii: "0"):
      // A mark counts as a value here.
      if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop() }
    case UInt8(ascii: "1"): _ = try popMarked()
    case UInt8(ascii: "2"): stack.append(try top())
    case UInt8(ascii: "q"): memo[try size8()] = try top()
    case UInt8(ascii: "r"): memo[try size32()] = try top()
    case UInt8(ascii: "p"): memo[try memoKey()] = try top()
    case 0x94: memo[memo.count] = try top()
    case UInt8(ascii: "h"): try recall(size8())
    case UInt8(ascii: "j"): try recall(size32())
    case UInt8(ascii: "g"): try recall(memoKey())
    case UInt8(ascii: "P"), 0x97, 0x98:
      throw wrong("values inside the pickle", "a reference to something outside, as pickle protocol 0 writes storages")
    default: throw wrong("an opcode of Python's pickles", "0x" + String(opcode, radix: 16))
    }
  }

  private mutating func memoKey() throws -> Int {
    let line = try line(atMost: 20)
    guard let key = Int(line) else { throw wrong("a number", line.quoted) }
    return key
  }

  private mutating func recall(_ key: Int) throws {
    guard let value = memo[key] else { throw wrong("a value that was kept", "number \(key)") }
    stack.append(value)
  }
}
