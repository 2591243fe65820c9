r"""The token shapes of Stanford's PTBTokenizer 3.4.1, as ordered rules.

A rule is a shape, what must follow it, and how its text is written. At each
position the rule that covers most characters, its follower included, wins; the
earlier one of two equals. Literal words match in any case, `[A-Z]` only
capitals: `About` after an acronym is a sentence start, `about` is not.

Which characters are letters was measured by feeding every character of the
Basic Multilingual Plane to the Java program: Unicode 6.3's letters, some marks.
"""

from collections.abc import Callable
from typing import NamedTuple

import regex


class Rule(NamedTuple):
  """One shape: `token` if `follow` comes next, written by `write`."""

  token: str
  follow: str = ''
  write: Callable[[str], str] = str
  unread: int = 0  # Characters given back: 'cannot' is 'can' and 'not'.
  lone_unread: bool = False  # Give back the dot of a one-letter acronym.


def _any_case(pattern: str) -> str:
  """Lets bare ASCII letters match both cases; classes and escapes stay."""
  return regex.sub(
    r'\\.|\[[^]]*\]|([A-Za-z])',
    lambda m: f'[{m[1].lower()}{m[1].upper()}]' if m[1] else m[0],
    pattern,
  )


def _one_of(words: str) -> str:
  return '(?:' + '|'.join(_any_case(w) for w in words.split()) + ')'


# Letters that came after Unicode 6.3 are not letters to the Java program.
_NEWER = (
  r'\u037F\u0528-\u052F\u0558-\u0560\u0588-\u058C\u05EF\u0860-\u089F\u08A1'
  r'\u08AD-\u08C9\u0978\u0980\u09FC\u0AF9\u0C34\u0C5A-\u0C5D\u0C80\u0CDC\u0CDD'
  r'\u0D04\u0D54-\u0D56\u0D5F\u0DE6-\u0DEF\u0E86\u0E89\u0E8C-\u0E93\u0E98\u0EA0'
  r'\u0EA8-\u0EA9\u0EAC\u13F5-\u13FD\u16F1-\u16F8\u170D\u171F\u1878\u191D\u191E'
  r'\u19B0-\u19C0\u19C8\u19C9\u1B4C\u1C80-\u1CBF\u1CF2\u1CF3\u1CFA\u208F'
  r'\u209D-\u209F\u2C2F\u2C5F\u312E\u312F\u31BB-\u31BF\u4DB6-\u4DBF\u9FCD-\u9FFF'
  r'\uA698-\uA69D\uA78F\uA794-\uA79F\uA7AB-\uA7F7\uA8FD\uA8FE\uA9E0-\uA9FE'
  r'\uAA7E\uAA7F\uAB30-\uABBF\U00010000-\U0010FFFF'
)
_ALPHA = rf'[[\p{{L}}\u1885\u1886]--[{_NEWER}]]'
_DIGIT = rf'[\p{{Nd}}--[{_NEWER}]]'
# Marks and signs that may stand inside a word, but not beside a digit.
_MARKS = (
  r'\u00AD\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u036F\u0375\u0378'
  r'\u0379\u0384\u0385\u03F6\u0483-\u0487\u055A-\u055F\u0591-\u05BD\u05BF\u05C1'
  r'\u05C2\u05C4\u05C5\u05C7\u0615-\u061A\u064B-\u065E\u0670\u06D6-\u06E4'
  r'\u06E7-\u06ED\u06FD\u06FE\u070F\u0711\u0730-\u074C\u07A6-\u07B0\u07EB-\u07F3'
  r'\u0900-\u0903\u093C\u093E-\u094E\u0951-\u0955\u0962\u0963\u0981-\u0983\u09BC'
  r'\u09BE-\u09C4\u09C7\u09C8\u09CB-\u09CD\u09D7\u09E2\u09E3\u0A01-\u0A03\u0A3C'
  r'\u0A3E-\u0A4F\u0A81-\u0A83\u0ABC\u0ABE-\u0ACF\u0B82\u0BBE-\u0BC2\u0BC6-\u0BC8'
  r'\u0BCA-\u0BCD\u0C01-\u0C03\u0C3E-\u0C56\u0D3E-\u0D44\u0D46-\u0D48\u0E31'
  r'\u0E34-\u0E3A\u0E47-\u0E4E\u0EB1\u0EB4-\u0EBC\u0EC8-\u0ECD'
)
_ACCENT_ENTITY = '&[aeiouAEIOU]' + _one_of('acute grave uml') + ';'
_L = rf'(?:[[\p{{L}}\u1885\u1886{_MARKS}]--[{_NEWER}]]|{_ACCENT_ENTITY})'
_LD = (
  rf'(?:[[\p{{L}}\p{{Nd}}\u1885\u1886{_MARKS}]--[{_NEWER}]]|{_ACCENT_ENTITY})'
)
_AN = rf'[[\p{{L}}\p{{Nd}}\u1885\u1886]--[{_NEWER}]]'

SPACE = r'[ \t\u00A0\u2000-\u200A\u3000]'
_GAP = r'[ \t\u00A0\u2000-\u200A\u3000\r\n\u2028\u2029\x0B\x0C\x85]'
_APOS = rf"(?:['\x92\u2019]|{_any_case('&apos;')})"
_APOS_ANY = rf"(?:['\x92\u2019`\x91\u2018\u201B]|{_any_case('&apos;')})"
_AMP = _any_case('&amp;')
_PAUSE = r'[,;:\u3001]'
_HYPHEN = r'[-_\u058A\u2010\u2011]'

_WORD = rf'{_L}{_LD}*(?:[.!?]{_L}{_LD}*)*'
_AUX = (
  rf'{_APOS}(?:[msdMSD]|{_any_case("re")}|{_any_case("ve")}|{_any_case("ll")})'
)
_NOT = rf'[nN]{_APOS_ANY}[tT]'
_NOT_HOST = r'[A-Za-z\xAD]*[A-MO-Za-mo-z]\xAD*'
_NUM = rf'(?:{_DIGIT}+|{_DIGIT}*(?:[.:,\xAD\u066B\u066C]{_DIGIT}+)+)'
_FRACTION = (
  rf'(?:{_DIGIT}{{1,4}}[- \xA0])?{_DIGIT}{{1,4}}(?:\\?/|\u2044){_DIGIT}{{1,4}}'
)
_DATE = rf'{_DIGIT}{{1,2}}[-/]{_DIGIT}{{1,2}}[-/]{_DIGIT}{{2,4}}'
_PHONE = (
  r'(?:(?:\([0-9]{2,3}\)[ \xA0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xA0])?[0-9]{2,4}'
  r'[- \xA0])[0-9]{3,4}[- \xA0]?[0-9]{3,5}'
  r'|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5})'
)

_NATIONS = _any_case(
  r'(?:(?:Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-U\.(?:K|S\.S\.R))'
)
_ACRONYM = rf'(?:[A-Za-z](?:\.[A-Za-z])*|{_NATIONS})'
_ACRONYM2 = rf'(?:[A-Za-z](?:\.[A-Za-z])+|{_NATIONS})'
# Words after which an acronym's dot also ends the sentence.
_STARTERS = (
  '(?:About|According|Additionally|After|An?|As|At|But|Earlier|Her?|Here|'
  r'However|If|In|It|Last|Many|More|Mr\.|Ms\.|Now|Once|One|Other|Our|She|Since|'
  'So|Some|Such|That|The|Their|Then|There|These|They|This|We|When|While|What|'
  'Yet|You)'
)
_STARTERS = regex.sub(
  r'\b([A-Z])([a-z]*)', lambda m: m[1] + _any_case(m[2]), _STARTERS
)

# Abbreviations mostly inside or at the end of a sentence ...
_ABBR_LOW = _one_of(r"""
  Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec
  Mon Tue Tues Wed Thu Thurs Fri
  Ala Ariz [A]z [A]rk Calif Colo Conn Ct Dak [D]el Fla Ga [I]ll Ind Kans? Ky
  [L]a [M]ass Md Mich Minn [M]iss Mo Mont Neb Nev Okla [O]re [P]a Penn Tenn
  [T]ex Va Vt [W]ash Wisc? Wyo
  Inc Cos? Corp Pp?t[ye]s? Ltd Plc Rt Bancorp Bhd Assn Univ Intl Sys
  tel est ext sq Jr Sr Bros (Ed|Ph)\.D Blvd Rd Esq etc al seq Bldg
""")
# ... before a name ...
_ABBR_UP = (
  '(?:'
  + _one_of(r"""
  Mr Mrs Ms [M]iss Drs? Profs? Sens? Reps? Attys? Lt Col Gen Messrs Govs? Adm
  Rev Maj Sgt Cpl Pvt Capt Ste? Ave Pres Lieut Hon Brig Co?mdr Pfc Spc Supts?
  Det Mt Ft Adj Adv Asst Assoc Ens Insp Mlle Mme Msgr Sfc
  vs Alex Wm Jos Cie a\.k\.a cf TREAS Ph Invt Elec Natl M[ft]g Dept
""")
  + f'|{_ACRONYM})'
)
# ... and before a number.
_ABBR_NUMBER = _one_of('ca figs? prop nos? art bldg pp op')

_FILE_EXTENSION = _one_of(
  'bat bmp c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg '
  'jpg mov mp3 pdf php pl png ppt ps py sql tar txt wav x xml zip'
)
_FILENAME = rf'{_LD}+(?:\.{_LD}+)*\.{_FILE_EXTENSION}'
_URL_END = r'[^ \t\n\f\r"<>|.!?(){},\-]'
_URL = _any_case('https?') + r'://[^ \t\n\f\r"<>|(){}]+' + _URL_END
_SITE = (
  rf'(?:{_any_case("www")}\.(?:[^ \t\n\f\r"<>|.!?(){{}},]+\.)+[a-zA-Z]{{2,4}}'
  # The class holds the range from comma to underscore: no digits, no capitals.
  r'|(?:[^ \t\n\f\r"`' + r"'<>|.!?(){},-_$]+\.)+"
  rf'{_one_of("com net org edu")})'
  rf'(?:/[^ \t\n\f\r"<>|()]+{_URL_END})?'
)
_EMAIL = (
  r'(?:&[lL][tT];|<)?[a-zA-Z0-9][^ \t\n\f\r"<>|()\xA0{}]*@'
  r'(?:[^ \t\n\f\r"<>|(){}.\xA0]+\.)*[^ \t\n\f\r"<>|(){}.\xA0]+'
  r'(?:&[gG][tT];|>)?'
)
_ELISION = rf'(?:[dDoOlL]{_APOS_ANY}{_AN})?'
_COMPOUND = rf'{_ELISION}{_AN}+(?:{_HYPHEN}{_ELISION}{_AN}+)*'
_CODE_COMPOUND = (
  r'[A-Za-z0-9][A-Za-z0-9.,\xAD]*'
  rf'(?:-(?:[A-Za-z0-9\xAD]+|{_ACRONYM2}\.))+'
)
_JOINED_CAPITALS = rf'[A-Z]+(?:(?:[+&]|{_AMP})[A-Z]+)+'
_SLASHED = (
  r'[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}'
  r'(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}'
)
_WITH_APOSTROPHE = '|'.join(
  [
    rf'{_APOS}[nN]{_APOS}?',
    rf'[lLdDjJ]{_APOS}',
    rf'{_one_of("Dunkin somethin ol")}{_APOS}',
    rf'{_APOS}{_one_of("em till? cause")}',
    rf'(?:[A-HJ-XZ]|n){_APOS_ANY}{_ALPHA}{{2,}}',
    rf'{_APOS}[2-9]0[sS]',
    rf'{_ALPHA}+[aeiouyAEIOUY]{_APOS_ANY}[aeiouA-Z]{_ALPHA}*',
    _one_of(r"cont'd\.? 'twas nor'easter c'mon e'er s'mores ev'ry li'l nat'l"),
    rf'[oO]{_APOS_ANY}[oO]',
  ]
)
_FIXED = '|'.join(
  [
    _any_case('-(RRB|LRB|RCB|LCB|RSB|LSB)-'),
    _one_of(r'C\.D\.s pro- anti-'),
    rf'[sS](?:&|{_AMP})(?:[pP]-500|[lL][sS])',
    rf'{_any_case("Cap")}{_APOS}[nN]|[cC]{_APOS}{_any_case("est")}',
  ]
)
_TAG = (
  r'<(?:[!?][A-Za-z\-][^>\r\n]*|[A-Za-z][A-Za-z0-9_:.\-]*'
  r'(?:[ ]+(?:[A-Za-z][A-Za-z0-9_:.\-]*'
  r"""|[A-Za-z][A-Za-z0-9_:.\-]*[ ]*=[ ]*(?:'[^']*'|"[^"]*")))*[ ]*/?"""
  r'|/[A-Za-z][A-Za-z0-9_:.\-]*)[ ]*>'
)
_SMILEY = r"[<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]]"
_FACE = (
  r"(?:[\-\^x=~<>']_[\-\^x=~<>']|\([\-\^x=~<>'][_.]?[\-\^x=~<>']\)"
  r"|\([\^x=~<>']-[\^x=~<>'`]\))"
)
_QUOTES = (
  r'[`\u2018\u2019\u201A\u201B\u201C\u201D\x91-\x94\u201E\u201F\u2039\u203A'
  r'\xAB\xBB]{1,2}'
)
_SYMBOLS = (
  r'[+%&~^|\\\xA6-\xA9\xAC\xAE-\xB4\xB6-\xB9\xD7\xF7\u0387\u05BE\u05C0\u05C3'
  r'\u05C6\u05F3\u05F4\u0600-\u0603\u0606-\u060A\u060C\u0614\u061B\u061E\u066A'
  r'\u066D\u0703-\u070D\u07F6-\u07F8\u0964\u0965\u0E4F\u1FBD\u2016\u2017'
  r'\u2020-\u2023\u2030-\u2038\u203B\u203E-\u2042\u2044\u207A-\u207E\u208A-\u208E'
  r'\u2100-\u214F\u2190-\u2BFF\u3012\u30FB\uFF01-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40'
  r'\uFF5B-\uFF65]'
)


def _hyphen_free(text: str) -> str:
  return text.replace('\xad', '') or '-'


def _latex(text: str) -> str:
  """Turns curly and straight quotes into Penn Treebank's ` and '."""
  text = regex.sub(r'&apos;|[\x92\u2019\u203A]', "'", text)
  text = regex.sub(r'"|&quot;|[\x94\u201D\xBB]', "''", text)
  text = regex.sub(r'[\x93\u201C\xAB]', '``', text)
  return regex.sub(r'[\x91\u2018\u201B\u2039]', '`', text)


def _opening(text: str) -> str:
  return _latex(text).replace("'", '`')


def _ampersand(text: str) -> str:
  return regex.sub('(?i:&amp;)', '&', text)


def _currency(text: str) -> str:
  text = text.replace('\xa2', 'cents').replace('\xa3', '#')
  return regex.sub(r'[\x80\xA4\u20A0\u20AC]', '$', text)


def _vulgar(text: str) -> str:
  return {'¼': '1/4', '½': '1/2', '¾': '3/4', '⅓': '1/3', '⅔': '2/3'}.get(
    text, text
  )


def _unbroken(text: str) -> str:
  return text.replace(' ', '\xa0')


def _bracketed(text: str) -> str:
  return text.replace('(', '-LRB-').replace(')', '-RRB-')


def _as(text: str) -> Callable[[str], str]:
  return lambda _: text


def _dashes(text: str) -> str:
  return '--' if len(text) in (3, 4) else text


RULES = (
  Rule(r'[cC]\+\+|[cCfF]#'),
  Rule(_any_case('cannot'), unread=3),
  Rule(_any_case("'twas"), unread=3),
  Rule(_any_case("'tis"), unread=2),
  Rule(_one_of('gonna gotta lemme gimme wanna'), unread=2),
  Rule(_TAG, write=_unbroken),
  Rule(
    rf'{_one_of("&MD; &mdash; &ndash;")}|[\x96\x97\u2013-\u2015]',
    write=_as('--'),
  ),
  Rule(_AMP, write=_ampersand),
  Rule(rf'&(?:{_one_of("HT TL UR LR QC QL QR odq cdq")}|#[0-9]+);'),
  Rule(_WORD, _AUX, _hyphen_free),
  Rule(_NOT_HOST, _NOT, _hyphen_free),
  Rule(_WORD, write=_hyphen_free),
  Rule(_WITH_APOSTROPHE),
  Rule(rf'[yY]{_APOS}', _ALPHA),
  Rule(_URL),
  Rule(_SITE),
  Rule(_EMAIL),
  Rule(rf'@[a-zA-Z_][a-zA-Z_0-9]*|#{_L}+'),
  Rule(_AUX, '[^A-Za-z]', _latex),
  Rule(_NOT, '[^A-Za-z]', _latex),
  Rule(_DATE),
  Rule(rf'[\-+]?{_NUM}', write=_hyphen_free),
  Rule(
    r'[\u207A\u207B\u208A\u208B]?'
    r'(?:[\u2070\xB9\xB2\xB3\u2074-\u2079]+|[\u2080-\u2089]+)'
  ),
  Rule(_FRACTION, write=_unbroken),
  Rule(r'[\xBC-\xBE\u2153-\u215E]', write=_vulgar),
  Rule(_FIXED, write=_ampersand),
  Rule(_SLASHED),
  Rule(r'[A-Z]*\$|#'),
  Rule(
    r'[\xA2-\xA5\x80\u20A0\u20AC\u060B\u0E3F\u20A4\uFFE0\uFFE1\uFFE5\uFFE6]',
    write=_currency,
  ),
  Rule(
    rf'{_ACRONYM}\.', rf'{_GAP}+(?:{_STARTERS}|{_TAG}){_GAP}', lone_unread=True
  ),
  Rule(rf'{_ABBR_NUMBER}\.', rf'{_GAP}?\p{{Nd}}'),
  Rule(r'(?:[pP][tT][eyEY]|[cC][oO])\.', rf'{SPACE}{_one_of("ltd lim")}'),
  Rule(rf'{_ABBR_LOW}\.', r'(?s:..)?'),
  Rule(rf'{_ABBR_UP}\.'),
  Rule(_ABBR_UP, SPACE),
  Rule(_ACRONYM, _GAP),
  Rule(rf'{_APOS}[0-9][0-9]', _GAP),
  Rule(_FILENAME, rf'(?:{_GAP}|[.?!,])'),
  Rule(rf'(?:{_WORD})\.', _PAUSE, _hyphen_free),
  Rule(_PHONE, write=lambda text: _bracketed(_unbroken(text))),
  Rule(r'"|&[qQ][uU][oO][tT];', '[A-Za-z0-9$]', _opening),
  Rule(r'"|&[qQ][uU][oO][tT];', write=_latex),
  Rule(r'<|&[lL][tT];', write=_as('<')),
  Rule(r'>|&[gG][tT];', write=_as('>')),
  Rule(_SMILEY, '[^A-Za-z0-9]', _bracketed),
  Rule(_FACE, write=_bracketed),
  Rule(r'\{', write=_as('-LCB-')),
  Rule(r'\}', write=_as('-RCB-')),
  Rule(r'\[', write=_as('-LSB-')),
  Rule(r'\]', write=_as('-RSB-')),
  Rule(r'\(', write=_as('-LRB-')),
  Rule(r'\)', write=_as('-RRB-')),
  Rule('-+', write=_dashes),
  Rule(r'\.{3,5}|(?:\.[ \xA0]){2,4}\.|[\x85\u2026]', write=_as('...')),
  Rule(r'@+|#+|_+'),
  Rule(r'\*+|(?:\\\*){1,3}'),
  Rule(_PAUSE),
  Rule('[?!]+'),
  Rule(r'[.\xA1\xBF\u037E\u0589\u061F\u06D4\u0700-\u0702\u07FA\u3002=/]'),
  Rule(rf'{_CODE_COMPOUND}\.', _PAUSE, _hyphen_free),
  Rule(_CODE_COMPOUND, write=_hyphen_free),
  Rule(rf'{_COMPOUND}\.', _PAUSE),
  Rule(_COMPOUND),
  Rule(rf'{_JOINED_CAPITALS}\.', _PAUSE, _ampersand),
  Rule(_JOINED_CAPITALS, write=_ampersand),
  Rule("'", r'[A-Za-z][^ \t\n\r\xA0]', _opening),
  Rule(_AUX, write=_latex),
  Rule(_NOT, write=_latex),
  Rule(rf"{_APOS}|''|{_QUOTES}", write=_latex),
  Rule('<<|>>'),
  Rule(_SYMBOLS),
  Rule(
    rf'{SPACE}+|[\x00\x7F\u200B\u200E\u200F\uFEFF]|&[nN][bB][sS][pP];',
    write=_as(''),
  ),
)
