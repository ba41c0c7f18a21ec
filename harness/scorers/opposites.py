"""Common English words of opposite meaning, each pair once.

General vocabulary alone: degrees, directions, frequencies, changes, places, people. What only one
field's texts use has no place here, or verdicts on that field would be tuned to its examples.
"""

# Word lists are read more easily as text.

from __future__ import annotations

from harness.sentences import stem

_WORDS = (
    ("increase increases increased raise raises rise rises more higher high elevated excess "
     "excessive greater", "decrease decreases decreased reduce reduces reduced lower lowers low "
     "less fewer fall falls drop diminish diminishes decline declines"),
    ("safe", "unsafe dangerous harmful"),
    ("before", "after"),
    ("early earlier", "late later"),
    ("common commonly often frequent frequently usual usually most always",
     "rare rarely uncommon seldom hardly barely scarcely infrequent infrequently unusual "
     "never exception exceptional exceptionally"),
    ("fast faster quick quickly rapid rapidly speed speeds accelerate accelerates hasten",
     "slow slower slows slowly gradual gradually delay delays"),
    ("acute sudden suddenly", "chronic gradual gradually"),
    ("improve improves better relieve relieves ease eases", "worsen worsens worse aggravate "
     "aggravates exacerbate exacerbates deteriorate deteriorates"),
    ("help helps helpful effective useful", "useless ineffective pointless"),
    ("prevent prevents protect protects", "caus cause causes lead leads trigger"),
    ("necessary needed required require requires", "unnecessary needless"),
    ("mild minor slight", "severe serious major"),
    ("benign noncancerous", "malignant cancerous"),
    ("large larger big bigger huge", "small smaller tiny"),
    ("thick thicker thicken thickened", "thin thinner thinned"),
    ("curable cured", "incurable"),
    ("contagious infectious", "noncontagious noninfectious"),
    ("permanent", "temporary temporarily"),
    ("start begin", "stop quit end"),
    ("children child", "adults adult"),
    ("inherited hereditary", "acquired"),
    ("solid", "liquid"),
    ("possible", "impossible"),
    ("positive", "negative"),
    ("left", "right"),
    ("full", "empty"),
    ("strong stronger strengthen", "weak weaker weaken"),
    ("gain", "loss lose"),
    ("hot warm", "cold cool"),
    ("always all every everyone", "none never nobody"),
    ("much many", "little few"),
    ("men man male males boy boys", "women woman female females girl girls"),
    ("older elderly old", "younger young"),
    ("same similar alike identical unchanged", "different differently distinct separate vary "
     "varies depend depends"),
    ("inside indoors", "outside outdoors"),
    ("most", "least"),
    ("likely", "unlikely"),
    ("activate activates stimulate stimulates", "block blocks inhibit inhibits suppress "
     "suppresses"),
    ("single one", "several multiple many"),
    ("complete finished", "incomplete unfinished ongoing"),
    ("follow follows heed obey", "ignore ignores ignored disregard disregarded"),
    ("allow allows allowed permit permits permitted", "forbid forbids forbidden prohibit "
     "prohibited ban banned"),
    ("accept accepts accepted", "refuse refuses refused reject rejects rejected"),
    ("include includes", "exclude excludes"),
    ("open", "closed shut"),
    ("healthy", "sick ill"),
    ("alive", "dead"),
    ("awake", "asleep"),
    ("success successful", "failure unsuccessful"),
    ("easy easily", "difficult hard"),
    ("wet", "dry"),
    ("light bright", "dark"),
    ("day", "night"),
    ("upper top", "lower bottom"),
    ("front", "back"),
    ("active", "inactive passive"),
    ("standing", "sitting"),
    ("happy", "sad"),
    ("alone", "together"),
    ("enter", "leave exit"),
    ("first", "last"),
    ("true", "false"),
)  # fmt: skip

SIDES: dict[str, tuple[tuple[int, int], ...]] = {}
"""Of each stem the pairs it belongs to, with its side in each."""

for _number, _pair in enumerate(_WORDS):
    for _side, _words in enumerate(_pair):
        for _stem in {stem(word) for word in _words.split()}:
            SIDES[_stem] = (*SIDES.get(_stem, ()), (_number, _side))
