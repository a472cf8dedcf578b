import ToeplitzTensor

/// Tells once of a model that was loaded and is called in training mode though nobody set that: where dropout or batch
/// normalisation depend on the mode, its results are not those of the trained model.
///
/// ```swift
/// ModeReminder.handler = { print($0) }   // or nil, to hear nothing
/// ```
public enum ModeReminder {
  /// What a module has to do with it.
  enum State {
    case none, due, settled
  }

  private static let current = Lock<(@Sendable (String) -> Void)?>({ writeToStandardError($0 + "\n") })

  /// What is done with the text; it goes to standard error unless this is set.
  public static var handler: (@Sendable (String) -> Void)? {
    get { current.withLock { $0 } }
    set { current.withLock { $0 = newValue } }
  }

  static func tell(_ module: Module) {
    module.reminder = .settled
    guard let (path, layer) = module.namedModules().first(where: { $0.module.dependsOnMode }) else { return }
    let place = path.isEmpty ? layer.displayName : "\(layer.displayName) '\(path)'"
    handler?(
      "toeplitz: \(module.displayName) was loaded and is called in training mode, in which \(place) computes something else; "
        + "call eval() after loading, or train() if that is meant")
  }
}

extension Module {
  /// From now on a first call in training mode is told, unless somebody has set the mode.
  func noteLoaded() { if reminder == .none { reminder = .due } }
}
