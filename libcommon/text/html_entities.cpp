#include "text/html_entities.h"

#include <charconv>
#include <sstream>
#include <unordered_map>

namespace me2::text {
namespace {

// U+00A0 to U+00FF in order (HTML 4, section 24.2.1): these may stand without a semicolon.
constexpr const char* kLatin =
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute "
    "micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig "
    "Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash "
    "Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute "
    "ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc "
    "uuml yacute thorn yuml ";

// name:code point (HTML 4, sections 24.3 and 24.4, as HTML 5 redefines some; then names that HTML 5 added).
constexpr const char* kOthers =
    "quot:22 amp:26 lt:3C gt:3E OElig:152 oelig:153 Scaron:160 scaron:161 Yuml:178 fnof:192 circ:2C6 tilde:2DC "
    "Alpha:391 Beta:392 Gamma:393 Delta:394 Epsilon:395 Zeta:396 Eta:397 Theta:398 Iota:399 Kappa:39A Lambda:39B "
    "Mu:39C Nu:39D Xi:39E Omicron:39F Pi:3A0 Rho:3A1 Sigma:3A3 Tau:3A4 Upsilon:3A5 Phi:3A6 Chi:3A7 Psi:3A8 Omega:3A9 "
    "alpha:3B1 beta:3B2 gamma:3B3 delta:3B4 epsilon:3B5 zeta:3B6 eta:3B7 theta:3B8 iota:3B9 kappa:3BA lambda:3BB "
    "mu:3BC nu:3BD xi:3BE omicron:3BF pi:3C0 rho:3C1 sigmaf:3C2 sigma:3C3 tau:3C4 upsilon:3C5 phi:3C6 chi:3C7 psi:3C8 "
    "omega:3C9 thetasym:3D1 upsih:3D2 piv:3D6 ensp:2002 emsp:2003 thinsp:2009 zwnj:200C zwj:200D lrm:200E rlm:200F "
    "ndash:2013 mdash:2014 lsquo:2018 rsquo:2019 sbquo:201A ldquo:201C rdquo:201D bdquo:201E dagger:2020 Dagger:2021 "
    "bull:2022 hellip:2026 permil:2030 prime:2032 Prime:2033 lsaquo:2039 rsaquo:203A oline:203E frasl:2044 euro:20AC "
    "image:2111 weierp:2118 real:211C trade:2122 alefsym:2135 larr:2190 uarr:2191 rarr:2192 darr:2193 harr:2194 "
    "crarr:21B5 lArr:21D0 uArr:21D1 rArr:21D2 dArr:21D3 hArr:21D4 forall:2200 part:2202 exist:2203 empty:2205 "
    "nabla:2207 isin:2208 notin:2209 ni:220B prod:220F sum:2211 minus:2212 lowast:2217 radic:221A prop:221D "
    "infin:221E ang:2220 and:2227 or:2228 cap:2229 cup:222A int:222B there4:2234 sim:223C cong:2245 asymp:2248 "
    "ne:2260 equiv:2261 le:2264 ge:2265 sub:2282 sup:2283 nsub:2284 sube:2286 supe:2287 oplus:2295 otimes:2297 "
    "perp:22A5 sdot:22C5 lceil:2308 rceil:2309 lfloor:230A rfloor:230B lang:27E8 rang:27E9 loz:25CA spades:2660 "
    "clubs:2663 hearts:2665 diams:2666 apos:27 AMP:26 LT:3C GT:3E QUOT:22 COPY:A9 REG:AE TRADE:2122 checkmark:2713 "
    "star:2606 starf:2605 lbrace:7B rbrace:7D lbrack:5B rbrack:5D lpar:28 rpar:29 comma:2C period:2E colon:3A semi:3B "
    "excl:21 quest:3F num:23 dollar:24 percnt:25 ast:2A plus:2B equals:3D commat:40 sol:2F bsol:5C lowbar:5F "
    "verbar:7C grave:60 hyphen:2010 dash:2010 Tab:9 NewLine:A ";

struct Entity {
  char32_t character;
  bool legacy;
};

std::unordered_map<std::string, Entity> read_tables() {
  std::unordered_map<std::string, Entity> out;
  std::istringstream latin(kLatin), others(kOthers);
  char32_t next = 0xA0;
  for (std::string name; latin >> name;) out[name] = {next++, true};
  for (std::string item; others >> item;) {
    const auto colon = item.find(':');
    unsigned code = 0;
    std::from_chars(item.data() + colon + 1, item.data() + item.size(), code, 16);
    out[item.substr(0, colon)] = {static_cast<char32_t>(code), false};
  }
  for (const char* name : {"quot", "amp", "lt", "gt", "QUOT", "AMP", "LT", "GT", "COPY", "REG"}) out.at(name).legacy = true;
  return out;
}

}  // namespace

char32_t html_entity(const std::string& name, bool* legacy) {
  static const auto table = read_tables();
  const auto it = table.find(name);
  if (legacy) *legacy = it != table.end() && it->second.legacy;
  return it == table.end() ? 0 : it->second.character;
}

}  // namespace me2::text
