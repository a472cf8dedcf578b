import ToeplitzTensor

/// A key of a pickled dictionary.
struct PickleKey {
  /// What it is in a dotted name.
  let name: String
  private let isText: Bool

  /// As Python writes it.
  var code: String { isText ? "'\(name)'" : name }

  /// Keys that Python takes for the same.
  private enum Identity: Hashable {
    case number(Int)
    case text(String)
    case other(String)
  }

  /// Longer keys of other kinds than text have no name.
  private static let longestName = 256
  private static let mostCharacters = 1 << 28

  /// Keys and values of a dictionary in order, each key once and with its last value; nil for keys that have no name.
  ///
  /// - Parameter characters: what names have taken so far; one long text can be a key many times over.
  static func pairs(
    _ items: [PickleValue], _ characters: inout Int, _ place: FilePlace
  ) throws -> [(key: PickleKey?, value: PickleValue)] {
    var pairs: [(key: PickleKey?, value: PickleValue)] = []
    pairs.reserveCapacity(items.count / 2)
    var places: [Identity: Int] = [:]
    for index in stride(from: 0, to: items.count - 1, by: 2) {
      let (value, key) = (items[index + 1], PickleKey(items[index]))
      characters += key?.name.utf8.count ?? 1
      guard characters <= Self.mostCharacters else {
        throw place.malformed("keys of at most \(Self.mostCharacters) bytes together", got: "more")
      }
      guard let key else {
        pairs.append((nil, value))
        continue
      }
      let identity = identity(items[index], key)
      if let place = places[identity] {
        pairs[place].value = value
      } else {
        places[identity] = pairs.count
        pairs.append((key, value))
      }
    }
    return pairs
  }

  /// 1, 1.0 and True are one key.
  private static func identity(_ value: PickleValue, _ key: PickleKey) -> Identity {
    switch value {
    case .int(let number): .number(number)
    case .bool(let flag): .number(flag ? 1 : 0)
    case .float(let number): Int(exactly: number).map { .number($0) } ?? .other(key.name)
    case .string(let text): .text(text)
    default: .other(key.name)
    }
  }

  private init?(_ value: PickleValue) {
    if case .string(let text) = value {
      (name, isText) = (text, true)
      return
    }
    var room = Self.longestName
    guard let code = Self.code(value, &room) else { return nil }
    (name, isText) = (code, false)
  }

  /// The key as Python writes it, if it is short enough; bytes as text, which Python 2 did not distinguish.
  private static func code(_ value: PickleValue, _ room: inout Int, isInner: Bool = false) -> String? {
    let code: String
    switch value {
    case .string(let text):
      guard text.utf8.count <= room else { return nil }
      code = "'\(text)'"
    case .int(let number): code = "\(number)"
    case .float(let number): code = "\(number)"
    case .bool(let flag): code = flag ? "True" : "False"
    case .none: code = "None"
    case .bytes(let bytes):
      let text = bytes.withBytes { bytes -> String? in
        guard bytes.count <= longestName else { return nil }
        return String(decoding: bytes.map { UInt16($0) }, as: UTF16.self)
      }
      guard let text else { return nil }
      code = isInner ? "b'\(text)'" : text
    case .tuple(let box):
      // Counted before the items, so that nesting ends too.
      room -= 2
      guard room >= 0, box.items.count <= room else { return nil }
      var codes: [String] = []
      for item in box.items {
        guard let inner = Self.code(item, &room, isInner: true) else { return nil }
        codes.append(inner)
      }
      return "(" + codes.joined(separator: ", ") + (codes.count == 1 ? ",)" : ")")
    default: return nil
    }
    room -= code.utf8.count
    return room >= 0 ? code : nil
  }
}
