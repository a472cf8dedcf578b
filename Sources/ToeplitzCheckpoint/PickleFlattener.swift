import ToeplitzTensor

/// Walks a pickled value and collects its tensors under dotted names.
struct PickleFlattener {
  let place: FilePlace
  private let maker: PickleTensorMaker
  /// What was found.
  private(set) var found = FoundTensors()
  /// Classes and functions that are not known here, in order of occurrence.
  private(set) var foreign: [String] = []
  private var search = PickleSearch()
  private var count = 0
  /// Characters of names and texts; one long text can stand under many names.
  private var characters = 0
  /// Where the tensors stand in the value, as Python writes it.
  private var origins: [String: String] = [:]
  /// The keys on the way to the value, as Python writes them.
  private var keys: [String] = []
  /// What is being walked: a value that refers back to one around it adds nothing.
  private var active = Set<ObjectIdentifier>()

  /// A short pickle can refer to one list many times over.
  private static let mostValues = 1 << 20
  private static let mostCharacters = 1 << 28
  private static let mostDepth = 64
  private static let mostForeign = 8

  init(place: FilePlace, maker: PickleTensorMaker) {
    self.place = place
    self.maker = maker
  }

  /// Adds a value and what is in it.
  ///
  /// - Parameter path: its name; empty at the top.
  /// - Throws: ``ToeplitzError`` of kind `format` if something is damaged or too much.
  mutating func add(_ value: PickleValue, _ path: String = "") throws {
    count += 1
    characters += path.utf8.count
    guard count <= Self.mostValues, keys.count <= Self.mostDepth, characters <= Self.mostCharacters else {
      throw place.malformed("at most \(Self.mostValues) values nested \(Self.mostDepth) deep", got: "more")
    }
    switch value {
    case .tensor(let tensor): try addTensor(path) { try $0.tensor(tensor, $1) }
    case .storage(let storage):
      // A storage by itself is all its elements in a row.
      let view = PickleTensor.View(storage: storage, offset: 0, sizes: [max(storage.count, 0)], strides: [1])
      let tensor = PickleTensor(.view(view))
      try addTensor(path) { try $0.tensor(tensor, $1) }
    case .dictionary(let box): try walk(box) { try $0.addPairs(box.items, path) }
    case .list(let box), .tuple(let box): try walk(box) { try $0.addItems(box.items, path) }
    case .object(let object): try walk(object) { try $0.add(object, path) }
    case .global(let name):
      // Element types and other constants of PyTorch's are plain values.
      if name.full.hasPrefix("torch."), name.full.split(separator: ".").count == 2 {
        addText(name.full, path)
      } else {
        note(name)
      }
    case .int(let number): addText("\(number)", path)
    case .float(let number): addText("\(number)", path)
    case .bool(let flag): addText(flag ? "True" : "False", path)
    case .string(let text): addText(text, path)
    case .set(let box):
      if search.findsTensor(in: box.items) { addRefusal("tensors in an order", "tensors in a set", path) }
    case .none, .longInt, .bytes: break
    }
  }

  private mutating func addText(_ text: String, _ path: String) {
    characters += text.utf8.count
    found.metadata[path] = text
  }

  private mutating func note(_ name: PickleName) {
    guard foreign.count < Self.mostForeign, !foreign.contains(name.full) else { return }
    foreign.append(name.full)
  }

  private mutating func walk(_ holder: AnyObject, _ body: (inout Self) throws -> Void) throws {
    let identifier = ObjectIdentifier(holder)
    guard active.insert(identifier).inserted else { return }
    try body(&self)
    active.remove(identifier)
  }

  private mutating func child(_ value: PickleValue, _ name: String, _ key: String, _ path: String) throws {
    keys.append(key)
    try add(value, path.isEmpty ? name : "\(path).\(name)")
    keys.removeLast()
  }

  private mutating func addItems(_ items: [PickleValue], _ path: String) throws {
    for (index, item) in items.enumerated() { try child(item, "\(index)", "[\(index)]", path) }
  }

  /// Adds the values of a dictionary, whose keys become names.
  private mutating func addPairs(_ items: [PickleValue], _ path: String) throws {
    for (key, value) in try PickleKey.pairs(items, &characters, place) {
      if let key {
        try child(value, key.name, "[\(key.code)]", path)
      } else if search.findsTensor(in: [value]) {
        addRefusal(
          "a tensor under a key that has a name", "one under a key that is an object of Python's",
          path.isEmpty ? "?" : "\(path).?")
      }
    }
  }

  // MARK: - Tensors

  private mutating func addTensor(
    _ path: String, _ make: (PickleTensorMaker, FilePlace) throws -> (tensor: Tensor, remark: String?)
  ) throws {
    // A tensor that is the whole file needs a name too.
    let name = path.isEmpty ? "tensor" : path
    guard claim(name) else { return }
    do {
      let (tensor, remark) = try make(maker, place.inside(name))
      found.tensors[name] = tensor
      found.remarks[name] = remark
    } catch var error as ToeplitzError where error.kind == .unsupported || error.kind == .memory {
      // A sparse tensor may be larger than the machine's memory; the others of the file can be read all the same.
      error.path = name.oneLine
      found.unreadable[name] = error
    }
  }

  /// Takes a name for a tensor; if it is taken, neither is kept.
  private mutating func claim(_ name: String) -> Bool {
    let code = keys.joined()
    characters += code.utf8.count
    guard let first = origins.updateValue(code, forKey: name) else { return true }
    found.tensors[name] = nil
    found.remarks[name] = nil
    found.unreadable[name] = ToeplitzError(
      .unsupported, place.file, expected: "tensors whose dotted names differ; rename one and save again",
      got: "two tensors of one name, at \(first.oneLine) and at \(code.oneLine)", path: name.oneLine)
    return false
  }

  private mutating func addRefusal(_ expected: String, _ got: String, _ path: String) {
    let name = path.isEmpty ? "tensor" : path
    guard claim(name) else { return }
    found.unreadable[name] = ToeplitzError(
      .unsupported, place.file, expected: expected, got: got, path: name.oneLine)
  }

  // MARK: - Objects

  private mutating func add(_ object: PickleObject, _ path: String) throws {
    if PickleNumPy.isArray(object) {
      return try addTensor(path) { (try PickleNumPy(place: $1).tensor(object), nil) }
    }
    if PickleNumPy.isScalar(object) {
      if let text = try PickleNumPy(place: place.inside(path)).text(object) { addText(text, path) }
      return
    }
    if let text = PickleText.plain(object) { return addText(text, path) }
    note(object.name)
    guard !search.findsTensor(in: object.arguments) else { return refuse(object, path) }
    switch object.state {
    case .dictionary(let box)?: try addAttributes(box, path)
    // Attributes, and those that have a place of their own in the object.
    case .tuple(let parts)? where parts.items.count == 2 && parts.items.allSatisfy(\.isAttributes):
      for case .dictionary(let box) in parts.items { try addAttributes(box, path) }
    case let state?:
      guard !search.findsTensor(in: [state]) else { return refuse(object, path) }
    case nil: break
    }
    try addItems(object.list, path)
    try addPairs(object.pairs, path)
  }

  /// Says that what is made of tensors cannot be known without running it.
  private mutating func refuse(_ object: PickleObject, _ path: String) {
    addRefusal(
      "tensors that can be read without running code; save tensors only, as torch.save(model.state_dict(), …) does",
      "what \(object.name.full.quoted) makes of tensors", path)
  }

  /// Adds the attributes of an object; those of a module are its state dictionary.
  private mutating func addAttributes(_ box: PickleBox, _ path: String) throws {
    var parts: [String: PickleValue] = [:]
    for (key, value) in try PickleKey.pairs(box.items, &characters, place) { if let key { parts[key.name] = value } }
    guard case .dictionary(let parameters)? = parts["_parameters"], case .dictionary(let modules)? = parts["_modules"]
    else { return try addPairs(box.items, path) }
    try addPairs(parameters.items, path)
    if case .dictionary(let buffers)? = parts["_buffers"] {
      var passing = Set<String>()
      if case .set(let names)? = parts["_non_persistent_buffers_set"] {
        for case .string(let name) in names.items { passing.insert(name) }
      }
      for (key, value) in try PickleKey.pairs(buffers.items, &characters, place) {
        if let key, !passing.contains(key.name) { try child(value, key.name, "[\(key.code)]", path) }
      }
    }
    try addPairs(modules.items, path)
  }
}

extension PickleValue {
  fileprivate var isAttributes: Bool {
    switch self {
    case .none, .dictionary: true
    default: false
    }
  }
}

/// Looks for tensors in values.
struct PickleSearch {
  /// What is still looked at before it is assumed that there is a tensor; short pickles can hold much.
  private var room = 1 << 22

  /// Whether one of the values is or holds a tensor.
  mutating func findsTensor(in values: [PickleValue]) -> Bool {
    var seen = Set<ObjectIdentifier>()
    var open = values
    func follow(_ holder: AnyObject, _ values: [PickleValue]) {
      if seen.insert(ObjectIdentifier(holder)).inserted { open += values }
    }
    while let next = open.popLast() {
      room -= 1
      if room < 0 { return true }
      switch next {
      case .tensor, .storage: return true
      case .tuple(let box), .list(let box), .set(let box), .dictionary(let box): follow(box, box.items)
      case .object(let object):
        if PickleNumPy.isArray(object) { return true }
        follow(object, object.arguments + object.list + object.pairs + (object.state.map { [$0] } ?? []))
      default: break
      }
    }
    return false
  }
}
