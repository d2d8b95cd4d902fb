"""Writes UnicodeComposition.txt from Python's copy of the Unicode character database: python3 make_unicode_composition.py

A line of three or two code points: a character and its canonical decomposition; a trailing "x" if it is never composed.
A line that begins with "=": a range of code points and their combining class. Hangul syllables follow a rule instead.
"""
import pathlib
import unicodedata

lines = [f"# Unicode {unicodedata.unidata_version}"]
classes = []
for code in range(0x110000):
    char = chr(code)
    decomposition = unicodedata.decomposition(char)
    if decomposition and not decomposition.startswith("<"):
        lines.append(f"{code:X} {decomposition}" + ("" if unicodedata.normalize("NFC", char) == char else " x"))
    combining = unicodedata.combining(char)
    if combining:
        if classes and classes[-1][1:] == [code - 1, combining]:
            classes[-1][1] = code
        else:
            classes.append([code, code, combining])
lines += [f"={first:X} {last:X} {combining}" for first, last, combining in classes]
pathlib.Path(__file__).with_name("UnicodeComposition.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
