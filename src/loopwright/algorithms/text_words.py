"""Text as fastText sees it: words, hashed n-grams of words, and labels.

Source: the public repository facebookresearch/fastText, src/dictionary.cc.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from loopwright.algorithms.recordio import Array

LABEL: Final = "__label__"
END: Final = "</s>"
_SEPARATORS: Final = "\n\r\t\v\f\0"
_PLAIN: Final = str.maketrans(dict.fromkeys(_SEPARATORS, " "))
_FACTOR: Final = np.uint64(116049371)


def split(line: str) -> tuple[list[str], list[str]]:
    """Words, with the end of the line as the last one, and labels."""
    tokens = [token for token in line.translate(_PLAIN).split(" ") if token]
    labels = [token for token in tokens if token.startswith(LABEL)]
    return [token for token in tokens if not token.startswith(LABEL)] + [END], labels


@lru_cache(maxsize=1_000_000)
def word_hash(word: str) -> int:
    """FNV-1a of 32 bits; bytes count as signed, as in fastText."""
    found = 2166136261
    for byte in word.encode():
        found ^= byte if byte < 0x80 else byte | 0xFFFFFF00
        found = found * 16777619 & 0xFFFFFFFF
    return found


class Vocabulary:
    """What a text is made of.

    Attributes:
        words: Row of each word.
        bucket: Rows for n-grams, behind those of the words; 0 for none.
        ngrams: Words in the longest n-gram.
        minn: Characters in the shortest n-gram of characters.
        maxn: In the longest; 0 for none.
    """

    def __init__(
        self, words: Iterable[str], bucket: int, ngrams: int, minn: int = 0, maxn: int = 0
    ) -> None:
        self.words: Mapping[str, int] = {word: row for row, word in enumerate(words)}
        self.bucket, self.ngrams = bucket, ngrams
        self.minn, self.maxn = minn, maxn

    def rows(self, words: list[str]) -> Array:
        """Rows of the words of a line and of their n-grams; unknown words have no own row."""
        found = [row for word in words for row in self.subwords(word)]
        parts = [np.array(found, np.int64)]
        if self.ngrams > 1 and self.bucket:
            parts += self._word_ngrams(words)
        return np.concatenate(parts)

    def subwords(self, word: str) -> list[int]:
        """Rows of one word: its own, if it is known, and its n-grams of characters."""
        known = self.words.get(word)
        own = [] if known is None else [known]
        if not self.maxn or word == END or not self.bucket:
            return own
        text = f"<{word}>"
        found = []
        for start in range(len(text)):
            for size in range(self.minn, self.maxn + 1):
                if start + size > len(text):
                    break
                # A single character is an n-gram only inside the word.
                if size == 1 and (start == 0 or start + size == len(text)):
                    continue
                part = word_hash(text[start : start + size])
                found.append(len(self.words) + part % self.bucket)
        return own + found

    def _word_ngrams(self, words: list[str]) -> list[Array]:
        # fastText keeps hashes as int32 and widens them with their sign.
        hashes = np.array([word_hash(word) for word in words], np.uint32).view(np.int32)
        wide = hashes.astype(np.int64).view(np.uint64)
        found, chain = [], wide
        for size in range(1, min(self.ngrams, len(words))):
            chain = chain[:-1] * _FACTOR + wide[size:]
            places = (chain % np.uint64(self.bucket)).astype(np.int64)
            found.append(places + len(self.words))
        return found
