/// Where the boxes of a drawing stand: inputs on top, each operation below what it needs.
private struct Layout {
  struct Box {
    var label: String
    var isPort: Bool
    var row: Int
    var column = 0
  }

  static let (width, height, gapX, gapY) = (190, 28, 20, 26)
  var boxes: [Box] = []
  var edges: [(from: Int, to: Int)] = []

  init(_ graph: Graph) {
    var makers: [Int: Int] = [:]
    func connect(_ values: [Int], _ box: Int) {
      for maker in values.compactMap({ makers[$0] }) {
        edges.append((maker, box))
        boxes[box].row = max(boxes[box].row, boxes[maker].row + 1)
      }
    }
    for input in graph.inputs {
      makers[input.value] = boxes.count
      boxes.append(Box(label: "\(input.name): \(graph.specs[input.value])", isPort: true, row: 0))
    }
    for node in graph.nodes {
      boxes.append(Box(label: node.label, isPort: false, row: 1))
      connect(node.inputs, boxes.count - 1)
      for output in node.outputs { makers[output] = boxes.count - 1 }
    }
    for output in graph.outputs {
      boxes.append(Box(label: output.name, isPort: true, row: 1))
      connect([output.value], boxes.count - 1)
    }
    var counts: [Int: Int] = [:]
    for index in boxes.indices {
      boxes[index].column = counts[boxes[index].row, default: 0]
      counts[boxes[index].row, default: 0] += 1
    }
  }

  func position(_ box: Box) -> (x: Int, y: Int) {
    (Self.gapX + box.column * (Self.width + Self.gapX), Self.gapY + box.row * (Self.height + Self.gapY))
  }
}

extension Graph {
  /// The graph as a drawing in the SVG format.
  public var svg: String {
    func escaped(_ text: String) -> String {
      let short = text.count > 30 ? text.prefix(29) + "…" : text[...]
      return String(short.map { $0.unicodeScalars.allSatisfy { $0.value >= 32 && $0.value < 0xFFFE } ? $0 : " " })
        .replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
    let layout = Layout(self)
    let (width, height) = (Layout.width, Layout.height)
    var lines: [String] = []
    for edge in layout.edges {
      let (from, to) = (layout.position(layout.boxes[edge.from]), layout.position(layout.boxes[edge.to]))
      lines.append(
        "<path d=\"M\(from.x + width / 2) \(from.y + height)L\(to.x + width / 2) \(to.y)\" stroke=\"#888\"/>")
    }
    for box in layout.boxes {
      let (x, y) = layout.position(box)
      lines.append(
        "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\" rx=\"\(box.isPort ? height / 2 : 3)\" "
          + "fill=\"\(box.isPort ? "#dde8f6" : "#f4f4f4")\" stroke=\"#555\"/>"
          + "<text x=\"\(x + width / 2)\" y=\"\(y + height / 2 + 4)\" text-anchor=\"middle\">\(escaped(box.label))</text>"
      )
    }
    let far = layout.boxes.map(layout.position)
    let (right, bottom) = ((far.map(\.x).max() ?? 0) + width + 20, (far.map(\.y).max() ?? 0) + height + 20)
    return """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(right)" height="\(bottom)" \
      font-family="Helvetica, sans-serif" font-size="11">
      \(lines.joined(separator: "\n"))
      </svg>
      """
  }
}
