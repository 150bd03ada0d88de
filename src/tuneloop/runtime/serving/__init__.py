"""Model engines behind one interface: a vLLM server, a server that runs already, in-process."""

from tuneloop.runtime.serving.chat import ChatRequest, ChatResult, ServedSystem, TokenLogprob
from tuneloop.runtime.serving.dialogue import Dialogue
from tuneloop.runtime.serving.engine import Engine, can_share, engine_mode, engine_of, open_engine

__all__ = [
    "ChatRequest",
    "ChatResult",
    "Dialogue",
    "Engine",
    "ServedSystem",
    "TokenLogprob",
    "can_share",
    "engine_mode",
    "engine_of",
    "open_engine",
]
