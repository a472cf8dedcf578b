import ToeplitzCheckpoint
import ToeplitzTensor

extension Module {
  /// Sets all parameters and buffers from a checkpoint, wherever in it the tensors that fit are.
  ///
  /// Training scripts save a state dictionary inside others, as `{'generator': …}` or `{'state_dict': …}`, and wrappers
  /// put prefixes such as `module.` before its names. The place is the top of the checkpoint if its tensors fit there,
  /// otherwise the first of those that fit, in the order of ``CheckpointPlaces/known``; ``LoadReport/place`` and
  /// ``LoadReport/otherPlaces`` say which. Tensors outside the place and constants of TorchScript's code are not
  /// unexpected.
  ///
  /// - Parameters:
  ///   - checkpoint: The checkpoint; what `inside` gives is searched below that place only.
  ///   - strict: Whether missing and unexpected names are errors. Wrong shapes always are.
  /// - Returns: What was found, also where it was no error.
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that lists all missing, unexpected and wrongly shaped names at the
  ///   place that fits best, or that names the places if several unknown ones fit; the reason, if a missing tensor is
  ///   one that cannot be read. Nothing has been changed then.
  @discardableResult
  public func load(_ checkpoint: Checkpoint, strict: Bool = true) throws -> LoadReport {
    var best: (place: CheckpointPlaces.Place, fit: StateFit)?
    var clean: [(place: CheckpointPlaces.Place, fit: StateFit)] = []
    for place in CheckpointPlaces.all(checkpoint) {
      let inside = place.path.isEmpty ? checkpoint : checkpoint.inside(place.path)
      let constants = Checkpoint.constantsPlace + "."
      let fit = try fit(inside.tensors.filter { !$0.key.hasPrefix(constants) })
      if fit.report.isClean, fit.count > 0 || place.path.isEmpty {
        clean.append((place, fit))
        if place.path.isEmpty { break }
      }
      if best.map({ fit.knownCount > $0.fit.knownCount }) ?? true { best = (place, fit) }
    }
    if let first = clean.first, let second = clean.dropFirst().first, !first.place.isKnown, !second.place.isKnown {
      throw ToeplitzError(
        .checkpoint, checkpoint.source,
        expected: "one place whose tensors fit the model; load checkpoint.inside(place)",
        got: clean.map(\.place.path).joined(separator: ", "))
    }
    guard let (place, found) = clean.first ?? best else { return try load(checkpoint.tensors, strict: strict) }
    var fit = found
    fit.report.place = place.path
    fit.report.otherPlaces = clean.dropFirst().map(\.place.path)
    let inside = place.path.isEmpty ? checkpoint : checkpoint.inside(place.path)
    let unreadable = inside.unreadable
    if let name = fit.report.missing.first(where: { unreadable[$0] != nil }), let error = unreadable[name] {
      throw error
    }
    do {
      return try assign(fit, strict: strict)
    } catch var error as ToeplitzError {
      error.operation = checkpoint.source
      error.path = inside.path
      throw error
    }
  }

  /// Sets all parameters and buffers from the checkpoint at `path`, in any format that
  /// ``Checkpoint/init(contentsOf:)-(String)`` reads.
  ///
  /// - Returns: What was found, also where it was no error.
  /// - Throws: As ``Checkpoint/init(contentsOf:)-(String)`` and ``load(_:strict:)-(Checkpoint,_)``.
  @discardableResult
  public func load(contentsOf path: String, strict: Bool = true) throws -> LoadReport {
    try load(Checkpoint(contentsOf: path), strict: strict)
  }
}

/// Where in a checkpoint a state dictionary may be.
public enum CheckpointPlaces {
  /// The names under which training scripts save state dictionaries, and the prefixes that wrappers add, in the order
  /// in which they are tried.
  public static let known = [
    "state_dict", "model_state_dict", "model", "generator", "module", "net", "network", "params", "weights",
    "_orig_mod", "params_ema", "state_dict_ema", "model_ema", "ema", "ema_model",
  ]

  /// A place and whether all parts of its path are known.
  struct Place {
    var path: String
    var isKnown: Bool
  }

  private static let mostDepth = 3
  private static let mostPlaces = 64

  /// The top, then places below it: known names before others, shallow places before deep ones.
  ///
  /// Names that are not known are tried right below the top only.
  static func all(_ checkpoint: Checkpoint) -> [Place] {
    var places = [Place(path: "", isKnown: true)]
    var level = [(place: places[0], names: checkpoint.names)]
    for depth in 0..<mostDepth {
      var next: [(place: Place, names: [String])] = []
      for (place, names) in level {
        var parts: [String: [String]] = [:]
        for name in names {
          guard let dot = name.firstIndex(of: "."), dot > name.startIndex else { continue }
          parts[String(name[..<dot]), default: []].append(String(name[name.index(after: dot)...]))
        }
        let ordered = known.filter { parts[$0] != nil } + parts.keys.filter { !known.contains($0) }.sorted()
        for part in ordered where part != Checkpoint.constantsPlace {
          let isKnown = known.contains(part)
          guard isKnown || depth == 0 else { continue }
          let path = place.path.isEmpty ? part : "\(place.path).\(part)"
          next.append((Place(path: path, isKnown: place.isKnown && isKnown), parts[part] ?? []))
        }
      }
      level = next
      places += next.map(\.place)
    }
    // Known places of any depth come before unknown ones.
    let sorted = places.filter(\.isKnown) + places.filter { !$0.isKnown }
    return Array(sorted.prefix(mostPlaces))
  }
}
