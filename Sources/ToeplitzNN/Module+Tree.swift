import ToeplitzOps
import ToeplitzTensor

/// What a stored property of a module holds.
enum ModuleItem {
  case module(Module)
  case weight(LayerWeight)
  case parameter(Parameter)
}

extension Module {
  /// The stored modules, weights and parameters with their keys, in order of declaration, base class first.
  var items: [(key: String, item: ModuleItem)] {
    var mirrors: [Mirror] = []
    var mirror: Mirror? = Mirror(reflecting: self)
    while let current = mirror {
      mirrors.append(current)
      mirror = current.superclassMirror
    }
    var found: [(String, ModuleItem)] = []
    for child in mirrors.reversed().flatMap(\.children) {
      guard let label = child.label else { continue }
      collect(child.value, key(forProperty: label), into: &found)
    }
    return found
  }

  private func collect(_ value: Any, _ key: String, into found: inout [(String, ModuleItem)]) {
    switch value {
    case let module as Module: found.append((key, .module(module)))
    case let weight as LayerWeight: found.append((join(name ?? "", key), .weight(weight)))
    case let parameter as Parameter: found.append((join(name ?? "", key), .parameter(parameter)))
    case is any NumberArray: break
    default: collectElements(Mirror(reflecting: value), key, into: &found)
    }
  }

  /// What an optional, an array or a dictionary holds, also one inside another: `name`, `name.0`, `name.key`.
  private func collectElements(_ mirror: Mirror, _ key: String, into found: inout [(String, ModuleItem)]) {
    switch mirror.displayStyle {
    case .optional:
      if let inner = mirror.children.first { collect(inner.value, key, into: &found) }
    case .collection:
      for (index, element) in mirror.children.enumerated() {
        collect(element.value, join(key, "\(index)"), into: &found)
      }
    case .dictionary:
      // Each child is a pair of key and value; the order of a dictionary differs from run to run.
      let pairs = mirror.children.compactMap { child -> (key: String, value: Any)? in
        let pair = Array(Mirror(reflecting: child.value).children)
        return pair.count == 2 ? ("\(pair[0].value)", pair[1].value) : nil
      }
      for pair in pairs.sorted(by: { $0.key < $1.key }) { collect(pair.value, join(key, pair.key), into: &found) }
    default: break
    }
  }

  /// The modules directly inside this one, with their keys.
  public var children: [(key: String, module: Module)] {
    items.compactMap { if case .module(let module) = $0.item { ($0.key, module) } else { nil } }
  }

  /// This module and all inside it, outermost first, with their dotted paths.
  ///
  /// A module that refers back to one around it, as by `weak var parent: Module?`, does not hold it.
  public func namedModules() -> [(path: String, module: Module)] {
    var result: [(String, Module)] = []
    var ancestors = Set<ObjectIdentifier>()
    func walk(_ module: Module, _ path: String) {
      guard ancestors.insert(ObjectIdentifier(module)).inserted else { return }
      module.path = path
      result.append((path, module))
      for child in module.children { walk(child.module, join(path, child.key)) }
      ancestors.remove(ObjectIdentifier(module))
    }
    walk(self, "")
    return result
  }

  /// All parameters and buffers with their dotted names, in order of declaration; a parameter that is shared appears
  /// under each of its names.
  func namedValues() -> [(name: String, parameter: Parameter)] {
    namedModules().flatMap { path, module in
      module.items.flatMap { key, item -> [(String, Parameter)] in
        switch item {
        case .module: []
        case .parameter(let parameter): [(join(path, key), parameter)]
        case .weight(let weight): weight.named(join(path, key)).map { ($0.key, $0.parameter) }
        }
      }
    }
  }

  /// The weights of this module and all inside it that are computed from other parameters.
  package func composedWeights() -> [LayerWeight] {
    namedModules().flatMap { _, module in
      module.items.compactMap { _, item in
        if case .weight(let weight) = item, weight.isComposed { weight } else { nil }
      }
    }
  }

  /// All parameters with their dotted names.
  public func namedParameters() -> [(name: String, parameter: Parameter)] {
    namedValues().filter { !$0.parameter.isBuffer }
  }

  /// All parameters, each once, in the order in which PyTorch counts them: parts that a weight is computed from were registered
  /// after the layer's other parameters.
  package func parametersInPyTorchOrder() -> [(name: String, parameter: Parameter)] {
    var seen = Set<ObjectIdentifier>()
    return namedModules().flatMap { path, module -> [(String, Parameter)] in
      var (own, parts): ([(String, Parameter)], [(String, Parameter)]) = ([], [])
      for (key, item) in module.items {
        switch item {
        case .module: break
        case .parameter(let parameter): own.append((join(path, key), parameter))
        case .weight(let weight):
          let named = weight.named(join(path, key)).map { ($0.key, $0.parameter) }
          if weight.isComposed { parts += named } else { own += named }
        }
      }
      return own + parts
    }.filter { !$0.1.isBuffer && seen.insert(ObjectIdentifier($0.1)).inserted }
  }

  /// All buffers with their dotted names.
  public func namedBuffers() -> [(name: String, parameter: Parameter)] {
    namedValues().filter { $0.parameter.isBuffer }
  }

  /// All parameters, each once.
  public func parameters() -> [Parameter] {
    var seen = Set<ObjectIdentifier>()
    return namedParameters().map(\.parameter).filter { seen.insert(ObjectIdentifier($0)).inserted }
  }

  /// The number of trained numbers.
  public var parameterCount: Int { parameters().reduce(0) { $0 + $1.value.count } }

  /// Sets training mode here and in all modules inside.
  ///
  /// - Returns: This module.
  @discardableResult
  public func train(_ training: Bool = true) -> Self {
    for (_, module) in namedModules() {
      module.setTraining(training)
      module.reminder = .settled
    }
    return self
  }

  /// Sets evaluation mode here and in all modules inside.
  ///
  /// - Returns: This module.
  @discardableResult
  public func eval() -> Self { train(false) }

  /// Runs `body` while this module and all inside it are in evaluation mode; then each has its mode again.
  package func evaluating<Result>(_ body: () throws -> Result) rethrows -> Result {
    let trained = namedModules().map(\.module).filter(\.isTraining)
    for module in trained { module.setTraining(false) }
    defer { for module in trained { module.setTraining(true) } }
    return try body()
  }

  /// Converts all floating-point parameters and buffers to `dtype`.
  ///
  /// - Returns: This module.
  /// - Throws: ``ToeplitzError`` of kind `dtype` if `dtype` is not a floating-point type.
  @discardableResult
  public func to(_ dtype: DType) throws -> Self {
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "Module.to", expected: "a floating-point type", got: "\(dtype)")
    }
    for (_, module) in namedModules() {
      for (_, item) in module.items {
        switch item {
        case .module: break
        case .weight(let weight): try weight.cast(to: dtype)
        case .parameter(let parameter):
          if parameter.value.dtype.isFloatingPoint { parameter.value = try parameter.value.cast(to: dtype) }
        }
      }
    }
    return self
  }
}

// MARK: - What is not found

extension Module {
  /// Throws if a module, weight or parameter is held where the state dictionary would not see it: in a tuple, a struct, an
  /// enum, a set or a lazy property.
  ///
  /// It would be neither loaded nor trained, in silence.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the property.
  package func requireVisibleState() throws {
    for (path, module) in namedModules() {
      var mirror: Mirror? = Mirror(reflecting: module)
      while let current = mirror, current.subjectType != Module.self {
        for child in current.children {
          guard let label = child.label, let place = hiddenPlace(child.value, label) else { continue }
          let name = label.hasPrefix(lazyPrefix) ? String(label.dropFirst(lazyPrefix.count)) : label
          throw ToeplitzError(
            .argument, module.displayName,
            expected:
              "modules and parameters in properties, optionals, arrays and dictionaries of classes derived from Module",
            got: "one inside \(place) '\(name)', which would not be found", path: path)
        }
        mirror = current.superclassMirror
      }
    }
  }
}

private let lazyPrefix = "$__lazy_storage_$_"

private protocol AnyOptional { static var wrapped: Any.Type { get } }
extension Optional: AnyOptional { fileprivate static var wrapped: Any.Type { Wrapped.self } }

/// Whether a property of this type, which may not have been made yet, holds a module.
private func isModule(_ type: Any.Type) -> Bool {
  if let optional = type as? any AnyOptional.Type { return isModule(optional.wrapped) }
  return type is Module.Type
}

/// In what a property hides a module, if it does.
private func hiddenPlace(_ value: Any, _ label: String, depth: Int = 0) -> String? {
  if label.hasPrefix(lazyPrefix) { return isModule(Swift.type(of: value)) ? "the lazy property" : nil }
  if value is Module || value is LayerWeight || value is Parameter || value is any NumberArray { return nil }
  let mirror = Mirror(reflecting: value)
  func holds(_ value: Any, _ depth: Int) -> Bool {
    if value is Module || value is LayerWeight || value is Parameter { return true }
    if value is any NumberArray || value is Tensor { return false }
    let mirror = Mirror(reflecting: value)
    // What is behind a reference belongs to somebody else.
    guard depth < 4, mirror.displayStyle != .class else { return false }
    return mirror.children.contains { holds($0.value, depth + 1) }
  }
  switch mirror.displayStyle {
  case .optional, .collection, .dictionary:
    guard depth < 4 else { return nil }
    // The value of a dictionary's entry stands in a pair, which is no tuple of the user.
    let isDictionary = mirror.displayStyle == .dictionary
    for child in mirror.children {
      let element: Any? =
        isDictionary ? Mirror(reflecting: child.value).children.dropFirst().first?.value : child.value
      if let element, let place = hiddenPlace(element, "", depth: depth + 1) { return place }
    }
    return nil
  case .tuple: return holds(value, 0) ? "the tuple" : nil
  case .struct: return holds(value, 0) ? "the struct" : nil
  case .enum: return holds(value, 0) ? "the enum" : nil
  case .set: return holds(value, 0) ? "the set" : nil
  default: return nil
  }
}

/// Arrays that hold no modules, which are not looked through however long they are.
private protocol NumberArray {}
extension Array: NumberArray where Element: Numeric {}

/// A path and a key with a dot between, unless one is empty.
func join(_ path: String, _ key: String) -> String {
  path.isEmpty ? key : key.isEmpty ? path : "\(path).\(key)"
}
