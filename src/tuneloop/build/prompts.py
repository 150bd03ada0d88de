"""Prompts as training sees them: cut at turn boundaries, and equal where their words are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.artefacts.tables import MESSAGES

BYTES_PER_TOKEN = 4
"""Of UTF-8, in English with the vocabularies in use; scripts of three bytes a character take
about a token for one and a half of them."""
FIELDS = [MESSAGES.value_type.field(i).name for i in range(MESSAGES.value_type.num_fields)]
_ODD_SPACING = r"\s\s|[^\S ]|^ | $|[\x0b\x1c-\x1f]"  # of ASCII texts
_ABOVE = ("system", "developer")


@dataclass
class Prompts:
    """n conversations, as lists over their messages.

    Attributes:
        offsets: Where each one's messages begin; n + 1 numbers.
        messages: The messages of all, in columns.
        tools: The tools offered in each, as JSON.
    """

    offsets: NDArray[np.int64]
    messages: dict[str, pa.Array]
    tools: pa.Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, column: pa.ChunkedArray, tools: pa.ChunkedArray) -> Prompts:
        """Return the prompts of a column of messages; fields that it lacks are null."""
        lists = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        lists = pc.fill_null(lists, []) if lists.null_count else lists
        flat = lists.flatten()
        known = {flat.type.field(i).name for i in range(flat.type.num_fields)}
        messages = {
            name: pc.struct_field(flat, name) if name in known else pa.nulls(len(flat), pa.string())
            for name in FIELDS
        }
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), messages, tools.combine_chunks())

    def filter(self, rows: NDArray[np.bool_]) -> Prompts:
        """Return some of the prompts."""
        kept = self._with(np.repeat(rows, np.diff(self.offsets)))
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[rows])])
        return Prompts(offsets, kept.messages, self.tools.filter(pa.array(rows)))

    def column(self) -> pa.ListArray:
        """Return the prompts as `artefacts.tables.MESSAGES`."""
        flat = pa.StructArray.from_arrays(
            [self.messages[name] for name in FIELDS], fields=list(MESSAGES.value_type)
        )
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), flat, type=MESSAGES)

    def n_bytes(self) -> NDArray[np.int64]:
        """Return the UTF-8 bytes of each prompt, tool calls included."""
        return self._sums(self._message_bytes())

    def n_chars(self) -> NDArray[np.int64]:
        """Return the characters of the texts of each prompt."""
        lengths = pc.fill_null(pc.utf8_length(self.messages["content"]), 0)
        return self._sums(lengths.to_numpy().astype(np.int64))

    def cut(self, max_tokens: int | None, *, with_system: bool) -> NDArray[np.bool_]:
        """Shorten the prompts; return which ones fit.

        Whole turns go, the oldest first. A turn begins with a user's message and holds all that
        follows it, so a tool's result is never parted from the call.
        """
        above = np.asarray(
            pc.is_in(self.messages["role"], pa.array(_ABOVE)).to_numpy(zero_copy_only=False)
        )
        if not with_system:
            self._keep(~above)
            above = np.zeros(len(self.messages["role"]), dtype=np.bool_)
        if max_tokens is None:
            return np.ones(len(self), dtype=np.bool_)
        most = max_tokens * BYTES_PER_TOKEN
        too_long = np.flatnonzero(self.n_bytes() > most)
        fits = np.ones(len(self), dtype=np.bool_)
        if not len(too_long):
            return fits
        keep = np.ones(len(above), dtype=np.bool_)
        n_bytes = self._message_bytes()
        asks = np.asarray(pc.equal(self.messages["role"], "user").to_numpy(zero_copy_only=False))
        for row in too_long.tolist():
            begin, end = self.offsets[row], self.offsets[row + 1]
            here = above[begin:end]
            room = most - n_bytes[begin:end][here].sum()
            after = np.cumsum((n_bytes[begin:end] * ~here)[::-1])[::-1]  # bytes from here on
            starts = np.flatnonzero(asks[begin:end] & (after <= room))
            fits[row] = len(starts) > 0
            if len(starts):
                keep[begin:end] = here | (np.arange(end - begin) >= starts[0])
        self._keep(keep)
        return fits

    def keys(self) -> pa.StringArray:
        """Return what is equal for equal prompts: roles, words, calls and tools; not spacing."""
        words = one_spaced(pc.fill_null(self.messages["content"], ""))
        parts = [self.messages["role"], words, *(self.messages[n] for n in ("name", "tool_calls"))]
        said = pc.binary_join_element_wise(
            *(pc.fill_null(part, "") for part in parts), "\x1e", "\x1f"
        )
        # The texts of a prompt's messages lie side by side: with the offsets of the prompts
        # alone, the same bytes are one text a prompt.
        ends = np.frombuffer(said.buffers()[1], dtype=np.int32)[said.offset :][self.offsets]
        whole = pa.StringArray.from_buffers(len(self), pa.py_buffer(ends), said.buffers()[2])
        if self.tools.null_count == len(self):
            return whole
        return pc.binary_join_element_wise(whole, pc.fill_null(self.tools, ""), "\x1d")

    def _message_bytes(self) -> NDArray[np.int64]:
        parts = [
            pc.fill_null(pc.binary_length(self.messages[name]), 0)
            for name in ("content", "tool_calls")
        ]
        total: NDArray[np.int64] = sum(part.to_numpy().astype(np.int64) for part in parts)
        return total

    def _sums(self, of_messages: NDArray[np.int64]) -> NDArray[np.int64]:
        sums: NDArray[np.int64] = np.concatenate([[0], np.cumsum(of_messages)])
        return sums[self.offsets[1:]] - sums[self.offsets[:-1]]

    def _keep(self, messages: NDArray[np.bool_]) -> None:
        kept = self._with(messages)
        self.messages, self.offsets = kept.messages, kept.offsets

    def _with(self, messages: NDArray[np.bool_]) -> Prompts:
        mask = pa.array(messages)
        counts = np.concatenate([[0], np.cumsum(messages)])
        kept = {name: column.filter(mask) for name, column in self.messages.items()}
        return Prompts(counts[self.offsets], kept, self.tools)


def one_spaced(texts: pa.StringArray) -> pa.StringArray:
    """Return texts with one space between words and none at the ends."""
    odd = pc.or_(
        pc.match_substring_regex(texts, _ODD_SPACING), pc.invert(pc.string_is_ascii(texts))
    )
    plain = [" ".join(text.split()) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(plain, pa.string()))
