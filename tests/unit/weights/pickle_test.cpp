// Pickles written out opcode by opcode (CPython's pickletools names them); what the machine must refuse is the point.
#include "weights/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace me2::weights {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

Pickled parse(const std::string& text) { return parse_pickle(std::as_bytes(std::span(text.data(), text.size())), "x.pkl"); }

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    return e.what();
  }
  return "accepted";
}

TEST(Pickle, PlainValuesOfEveryProtocol) {
  EXPECT_EQ(parse("I42\n."s).root.integer(), 42);
  EXPECT_TRUE(parse("I01\n."s).root.boolean());
  EXPECT_EQ(parse("L-7L\n."s).root.integer(), -7);
  EXPECT_EQ(parse("\x80\x02\x8a\x01\xff."s).root.integer(), -1);
  EXPECT_EQ(parse("\x80\x02\x8a\x00."s).root.integer(), 0);
  EXPECT_EQ(parse("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."s).root.text(), "18446744073709551616");
  EXPECT_EQ(parse("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xff."s).root.text(), "-18446744073709551616");
  EXPECT_EQ(parse("F1.5\n."s).root.real(), 1.5);
  EXPECT_EQ(parse("S'abc'\n."s).root.text(), "abc");
  EXPECT_EQ(parse("(lp0\nI1\naI2\na."s).root.elements().size(), 2u);
  EXPECT_EQ(parse("\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94."s).root.text(), "x");
}

TEST(Pickle, RefusesEveryNameThatIsNotOnTheListBeforeAnyCall) {
  for (const char* name : {"posix\nsystem", "os\nsystem", "nt\nsystem", "__builtin__\neval", "builtins\nexec", "builtins\n__import__", "subprocess\nPopen",
                           "torch\nload", "torch.hub\nload", "torch.serialization\nload", "numpy\nload", "numpy.testing._private.utils\nrunstring", "runpy\n_run_code",
                           "torch._utils\n_rebuild_tensor_v2.__globals__", "collections\nOrderedDict.__init__", "importlib\nimport_module", "pickle\nloads"})
    EXPECT_THAT(refusal("c"s + name + "\n."), HasSubstr("is not a name")) << name;
  EXPECT_THAT(refusal("\x80\x04\x8c\x05posix\x8c\x06system\x93."s), HasSubstr("posix.system"));
}

TEST(Pickle, GetattrIsOnlyANameOfASkippedLibrary) {
  EXPECT_THAT(refusal("c__builtin__\ngetattr\n(ccollections\nOrderedDict\nS'clear'\ntR."s), HasSubstr("getattr"));
  EXPECT_THAT(refusal("c__builtin__\ngetattr\n(I1\nS'real'\ntR."s), HasSubstr("getattr"));
  const Pickled p = parse("c__builtin__\ngetattr\n(ctorch.optim.lr_scheduler\nOneCycleLR\nS'_annealing_cos'\ntR."s);
  EXPECT_TRUE(p.root.is(Value::Kind::opaque));
  EXPECT_EQ(p.notes.size(), 1u);
  EXPECT_THAT(refusal("c__builtin__\ngetattr\n(ctorch.optim.lr_scheduler\nOneCycleLR\nS'_annealing_cos'\ntR(I1\ntR."s), HasSubstr("not callable"));
}

TEST(Pickle, RefusesOpcodesThatImportOrReachOutside) {
  EXPECT_THAT(refusal("(S'x'\niposix\nsystem\n."s), HasSubstr("not allowed"));   // INST
  EXPECT_THAT(refusal("(cx\ny\nS'x'\no."s), HasSubstr("is not a name"));         // OBJ
  EXPECT_THAT(refusal("\x80\x02\x82\x01."s), HasSubstr("not allowed"));          // EXT1
  EXPECT_THAT(refusal("Pabc\n."s), HasSubstr("not allowed"));                    // PERSID
  EXPECT_THAT(refusal("\x80\x05\x97."s), HasSubstr("not allowed"));              // NEXT_BUFFER
  EXPECT_THAT(refusal("\x80\x06N."s), HasSubstr("protocol 6"));
}

TEST(Pickle, RefusesMalformedInput) {
  EXPECT_THAT(refusal(""s), HasSubstr("ends early"));
  EXPECT_THAT(refusal("N"s), HasSubstr("ends early"));
  EXPECT_THAT(refusal("."s), HasSubstr("stack is empty"));
  EXPECT_THAT(refusal("X\xff\xff\xff\xff."s), HasSubstr("ends early"));
  EXPECT_THAT(refusal("I12"s), HasSubstr("does not end"));
  EXPECT_THAT(refusal("I1x\n."s), HasSubstr("not an integer"));
  EXPECT_THAT(refusal("t."s), HasSubstr("no mark"));
  EXPECT_THAT(refusal("h\x05."s), HasSubstr("memo 5"));
  EXPECT_THAT(refusal("}(I1\nu."s), HasSubstr("no value"));
  EXPECT_THAT(refusal("I1\nI2\na."s), HasSubstr("not a list"));
  EXPECT_THAT(refusal("I1\n)R."s), HasSubstr("not callable"));
  EXPECT_THAT(refusal("I1\n}b."s), HasSubstr("takes none"));
  EXPECT_THAT(refusal("c__builtin__\nint\n)R."s), HasSubstr("a call of"));
}

TEST(Pickle, RefusesCyclesDepthAndBombs) {
  EXPECT_THAT(refusal("]q\x00h\x00" "a."s), HasSubstr("inside itself"));
  EXPECT_THAT(refusal(std::string(100000, ']') + std::string(99999, 'a') + "."), HasSubstr("nested"));
  std::string laughs = "](I0\nI0\ne";  // each level is a list of the one before, ten times
  for (int level = 0; level < 12; ++level) laughs += std::string("q") + static_cast<char>(level) + "0](" + [&] {
    std::string many;
    for (int i = 0; i < 10; ++i) many += std::string("h") + static_cast<char>(level);
    return many;
  }() + "e";
  EXPECT_THAT(refusal(laughs + "."), HasSubstr("values"));
}

TEST(Pickle, CopiesOfOneLargeTextAreRefused) {
  std::string bomb = "X\x00\x00\x10\x00"s + std::string(1 << 20, 'x') + "q\x00X\x06\x00\x00\x00latin1q\x01" "c_codecs\nencode\nq\x02"s;
  for (int i = 0; i < 1000; ++i) bomb += "h\x02h\x00h\x01\x86R0"s;
  EXPECT_THAT(refusal(bomb + "N."), HasSubstr("over and over"));
}

}  // namespace
}  // namespace me2::weights
