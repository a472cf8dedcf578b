extension ThreadPool {
  /// Elements of one piece of work: some ten microseconds.
  private static let piece = 1 << 14

  /// Calls `body` with ranges that together are `0..<rows`, on several threads where there are many elements.
  ///
  /// - Parameter width: elements of one row.
  func runRows(_ rows: Int, width: Int, _ body: (Range<Int>) -> Void) {
    guard rows > 0 else { return }
    let most = max(1, Self.piece / max(1, width))
    run((rows + most - 1) / most) { item, _ in
      body(item * most..<min(rows, (item + 1) * most))
    }
  }
}
