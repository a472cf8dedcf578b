import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

/// Malformed `.npy` files: each breaks one rule and is refused for it.
@Suite struct NumPyRefusalTests {
  private func refuse(
    descr: String = "'<f4'", order: String = "False", shape: String = "(1,)", data: Int = 4, _ text: String,
    location: SourceLocation = #_sourceLocation
  ) {
    let header = "{'descr': \(descr), 'fortran_order': \(order), 'shape': \(shape), }"
    Parser.npy.expectRefusal(npy(header, [UInt8](repeating: 9, count: data)), text, location: location)
  }

  @Test func preamble() {
    let parser = Parser.npy
    let good = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", [1])
    parser.expectRefusal([], "6 bytes of magic text")
    parser.expectRefusal(Array("\u{93}NUMPY".utf8), "begins with")
    parser.expectRefusal([0x93] + Array("NUMPX".utf8) + good[6...], "begins with")
    parser.expectRefusal(npy("{}", version: [4, 0]), "version 1.0, 2.0 or 3.0")
    parser.expectRefusal(npy("{}", version: [0, 0]), "version")
    parser.expectRefusal(npy("{}", version: [1, 1]), "got 1.1")
    parser.expectRefusal(Array(good[..<7]), "version")
    parser.expectRefusal(Array(good[..<9]), "header length")
    parser.expectRefusal(Array(good[..<20]), "bytes of header")
    parser.expectRefusal([0x93] + Array("NUMPY".utf8) + [2, 0, 255, 255, 255, 255, 0x7B], "at most 65536")
    for length in 0..<good.count {
      parser.expectRefusal(Array(good[..<length]), "expected")
    }
  }

  @Test func dictionaries() {
    func refuse(_ header: String, _ text: String, location: SourceLocation = #_sourceLocation) {
      Parser.npy.expectRefusal(npy(header, [0]), text, location: location)
    }
    refuse("", "'{'")
    refuse("{}", "the keys")
    refuse("{'descr': '|u1', 'shape': (1,)}", "the keys")
    refuse("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", "got 'descr'")
    refuse("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}", "got 'more'")
    refuse("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)", "'}'")
    refuse("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} + x", "the end of the header")
    refuse("{'descr' '|u1'}", "':'")
    refuse("{'descr': '|u1}", "the end of a string")
    refuse("{'de\\x73cr': '|u1'}", "plain ASCII")
    refuse("{'descr': '|u1é'}", "plain ASCII")
    refuse("__import__('os').abort()", "'{'")
    refuse("{'descr': __import__('os').abort()}", "a plain string")
  }

  @Test func types() {
    refuse(descr: "'<c8'", data: 8, "element type")
    refuse(descr: "'<c8'", data: 8, "got '<c8'")
    refuse(descr: "'|O'", "element type")
    refuse(descr: "'<V2'", "element type")
    refuse(descr: "'<U4'", "element type")
    refuse(descr: "'<M8[ns]'", data: 8, "element type")
    refuse(descr: "'<f16'", data: 16, "element type")
    refuse(descr: "'=f4'", "element type")
    refuse(descr: "'f4'", "element type")
    refuse(descr: "'|f4'", "element type")
    refuse(descr: "''", "element type")
    refuse(descr: "'<'", "element type")
    refuse(descr: "[('a', '<f4')]", "got '[('a', '<f4')]' (structures")
    refuse(descr: "[('a'", "the end of a list")
    refuse(descr: "'|S5'", "(text, which no tensor holds)")
    refuse(descr: "'|O'", "never loaded")
    refuse(descr: "'|b1'", data: 1, "booleans stored as 0 or 1")
  }

  @Test func ordersAndShapes() {
    refuse(order: "0", "True or False")
    refuse(order: "Tru", "True or False")
    refuse(shape: "(1)", "a comma behind a single size")
    refuse(shape: "(-1,)", "a size of at least 0")
    refuse(shape: "(1.0,)", "a comma")
    refuse(shape: "(,)", "a size")
    refuse(shape: "(1,,)", "a size")
    refuse(shape: "[1]", "'('")
    refuse(shape: "None", "'('")
    refuse(shape: "(1", "a size of at least 0")
    refuse(shape: "(0x10,)", "a comma")
    refuse(shape: "(99999999999999999999,)", "sizes of at most")
    refuse(shape: "(4611686018427387904,)", "a shape of at most")
    refuse(shape: "(4611686018427387904, 4611686018427387904)", data: 0, "a shape of at most")
    refuse(shape: "(0, 4611686018427387904)", data: 0, "a shape of at most")
    refuse(order: "True", shape: "(4611686018427387904, 2, 0)", data: 0, "a shape of at most")
    refuse(shape: "(" + String(repeating: "1,", count: 65) + ")", "at most 64 dimensions")
    // More than any machine has, but a legal shape.
    refuse(shape: "(1000000000000000,)", "4000000000000000 bytes of data")
    refuse(shape: "(2,)", "8 bytes of data")
    refuse(shape: "(1,)", data: 5, "4 bytes of data")
  }
}
