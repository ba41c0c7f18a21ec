"""What servers are known to say: why an answer ended, where its parts stand, what marks it holds.

One table with its sources. A word that stands in no row is unknown, and unknown is not fine: its
answer is scored with a note, and the report warns. `docs/how-to/add-what-a-server-says.md` says how
to add a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Ending = Literal["whole", "cut", "refused", "failed", "tool", "unknown"]
"""Why an answer ended: complete; cut off by a limit; withheld by a filter or by the model; lost to
a failure of the server; a call of a tool in its place; or a word that stands in no row."""


@dataclass(frozen=True)
class Said:
    """One finish reason: what it means, and who says it (a server, and where that is stated)."""

    word: str
    ending: Ending
    by: str


FINISH_REASONS: tuple[Said, ...] = (
    # complete
    Said("stop", "whole", "OpenAI, vLLM, SGLang, llama.cpp, Ollama, Gemini: platform.openai.com/docs/api-reference/chat/object"),
    Said("eos", "whole", "Together, llama.cpp's stop_type: docs.together.ai, tools/server/README.md"),
    Said("eos_token", "whole", "TGI, watsonx.ai: huggingface.co/docs/text-generation-inference, FinishReason"),
    Said("eos_found", "whole", "LM Studio: lmstudio.ai/docs/typescript, LLMPredictionStopReason eosFound"),
    Said("eog_token", "whole", "llama.cpp bindings: pub.dev, LlamaFinishReason"),
    Said("end_turn", "whole", "Anthropic, Bedrock: docs.claude.com/en/api/handling-stop-reasons"),
    Said("stop_sequence", "whole", "Anthropic, Bedrock, TGI, Cohere, watsonx.ai"),
    Said("stop_string_found", "whole", "LM Studio: LLMPredictionStopReason stopStringFound"),
    Said("word", "whole", "llama.cpp's stop_type, a stop string: tools/server/README.md"),
    Said("complete", "whole", "Cohere: docs.cohere.com/reference/chat, finish_reason"),
    Said("completed", "whole", "OpenAI's Responses API: status"),
    Said("end_of_text", "whole", "Aleph Alpha: docs.aleph-alpha.com, finish_reason"),
    Said("endoftext", "whole", "AI21: docs.ai21.com, finishReason"),
    Said("stop_sequence_reached", "whole", "Aleph Alpha"),
    # cut off by a limit
    Said("length", "cut", "OpenAI, vLLM, SGLang, llama.cpp, Ollama, TGI, Mistral"),
    Said("max_tokens", "cut", "Anthropic, Bedrock, Gemini MAX_TOKENS, Cohere, watsonx.ai"),
    Said("max_output_tokens", "cut", "OpenAI's Responses API: incomplete_details.reason"),
    Said("max_completion_tokens", "cut", "gateways that name the limit sent"),
    Said("max_new_tokens", "cut", "servers on transformers that name its limit"),
    Said("max_length", "cut", "servers on transformers that name its limit"),
    Said("maximum_tokens", "cut", "Aleph Alpha"),
    Said("model_length", "cut", "Mistral: docs.mistral.ai/api, finish_reason"),
    Said("token_limit", "cut", "watsonx.ai: stop_reason"),
    Said("limit", "cut", "llama.cpp's stop_type: tools/server/README.md"),
    Said("time_limit", "cut", "watsonx.ai: TextChatResultChoice.finish_reason"),
    Said("max_predicted_tokens_reached", "cut", "LM Studio: LLMPredictionStopReason"),
    Said("context_length_reached", "cut", "LM Studio: LLMPredictionStopReason"),
    Said("context_full", "cut", "llama.cpp bindings: pub.dev, LlamaFinishReason"),
    Said("context_length_exceeded", "cut", "gateways that pass OpenAI's error code on"),
    Said("model_context_window_exceeded", "cut", "Anthropic, Bedrock, Z.ai: docs.claude.com/en/api/handling-stop-reasons"),
    Said("error_limit", "cut", "Cohere: the context is full"),
    Said("pause_turn", "cut", "Anthropic: a turn that is to be continued"),
    Said("incomplete", "cut", "OpenAI's Responses API: status"),
    Said("repetition", "cut", "vLLM: the answer is ended because it repeats itself"),
    Said("compaction", "cut", "Anthropic: a turn that is to be continued"),
    # withheld
    Said("content_filter", "refused", "OpenAI, Azure, DeepSeek: learn.microsoft.com/azure/ai-services/openai/concepts/content-filter"),
    Said("content_filtered", "refused", "Bedrock: Converse, stopReason"),
    Said("guardrail_intervened", "refused", "Bedrock: Converse, stopReason"),
    Said("refusal", "refused", "Anthropic: docs.claude.com/en/api/handling-stop-reasons"),
    Said("safety", "refused", "Gemini: ai.google.dev/api/generate-content#FinishReason"),
    Said("image_safety", "refused", "Gemini"),
    Said("blocklist", "refused", "Gemini"),
    Said("prohibited_content", "refused", "Gemini"),
    Said("spii", "refused", "Gemini"),
    Said("recitation", "refused", "Gemini"),
    Said("language", "refused", "Gemini: the language is not supported"),
    Said("model_armor", "refused", "Vertex AI"),
    Said("sensitive", "refused", "Z.ai: docs.z.ai, finish_reason"),
    Said("error_toxic", "refused", "Cohere"),
    # lost
    Said("error", "failed", "OpenRouter, Mistral, vLLM, Cohere: openrouter.ai/docs/api-reference/overview"),
    Said("abort", "failed", "vLLM, SGLang: the request was aborted"),
    Said("aborted", "failed", "llama.cpp bindings"),
    Said("cancelled", "failed", "watsonx.ai, Strands"),
    Said("canceled", "failed", "LM Studio and gateways, American spelling"),
    Said("user_cancel", "failed", "Cohere"),
    Said("user_stopped", "failed", "LM Studio: LLMPredictionStopReason"),
    Said("model_unloaded", "failed", "LM Studio: LLMPredictionStopReason"),
    Said("unload", "failed", "Ollama: docs/api.md, done_reason"),
    Said("load", "failed", "Ollama: docs/api.md, done_reason; the model was loaded, nothing was asked"),
    Said("failed", "failed", "LM Studio; OpenAI's Responses API: status"),
    Said("network_error", "failed", "Z.ai: docs.z.ai, finish_reason"),
    Said("insufficient_system_resource", "failed", "DeepSeek: api-docs.deepseek.com, finish_reason"),
    Said("timeout", "failed", "gateways"),
    Said("not_finished", "failed", "watsonx.ai: stop_reason"),
    Said("in_progress", "failed", "OpenAI's Responses API: status"),
    Said("malformed_function_call", "failed", "Gemini"),
    Said("malformed_model_output", "failed", "Bedrock: Converse, stopReason"),
    Said("malformed_tool_use", "failed", "Bedrock: Converse, stopReason"),
    Said("unexpected_tool_call", "failed", "Gemini"),
    # a tool in the answer's place
    Said("tool_calls", "tool", "OpenAI and all that follow it"),
    Said("tool_call", "tool", "Cohere"),
    Said("tool_use", "tool", "Anthropic, Bedrock"),
    Said("function_call", "tool", "OpenAI, deprecated"),
)  # fmt: skip

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
"""Fields of a message that hold its reasoning: DeepSeek and vLLM up to 0.11; OpenRouter, gpt-oss
and vLLM since; Ollama; GitHub's models. OpenRouter's `reasoning_details` is read beside them."""

TEXT_PARTS = ("text", "output_text", "input_text")
"""Types of a part of content that hold the answer: chat completions, the Responses API."""

THINKING_PARTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking", "summary_text")
"""Types of a part of content that hold reasoning: Anthropic, Mistral, the Responses API."""

REFUSAL_PARTS = ("refusal",)
"""Types of a part of content that hold a refusal: OpenAI."""

THINK_NAMES = (
    "think",  # DeepSeek-R1, Qwen3, GLM, MiniMax, Nemotron, Phi-4; Mistral writes [THINK]
    "thinking",  # Granite 3.x gateways, Reflection
    "thought",  # EXAONE Deep, Gemini's own marks
    "thoughts",
    "seed:think",  # Seed-OSS, with <seed:cot_budget_reflect> inside
    "seed:cot_budget_reflect",
    "antml:thinking",  # Claude, where a proxy leaks its prompt format
    "antthinking",
    "reasoning",
    "reason",
    "reflection",  # Reflection 70B
    "scratchpad",
    "inner_monologue",
    "begin_of_thought",  # OpenThinker, Sky-T1: <|begin_of_thought|>, <|end_of_thought|>
    "start_thinking",  # Cohere Command A: <|START_THINKING|>, <|END_THINKING|>
    "think_fast",  # Hunyuan
)
"""Names of marks around reasoning, whatever the brackets: <think>, [THINK], {think}, ◁think▷."""

THINK_ENDS: Mapping[str, str] = {
    "end_of_thought": "begin_of_thought",
    "end_thinking": "start_thinking",
}
"""Marks that close another one by their name, not by a slash."""

ANSWER_NAMES = ("answer", "response", "output", "final", "begin_of_solution", "end_of_solution",
                "start_response", "end_response")  # fmt: skip
"""Names of marks around the answer itself, taken off where reasoning stood before them: Hunyuan's
and Marco-o1's <answer>, ERNIE's <response>, Cohere's <|START_RESPONSE|>."""

TEMPLATE_MARK = re.compile(
    r"<[|｜][\w▁ :./-]{1,40}[|｜]>"  # <|im_end|>, <|eot_id|>, <｜end▁of▁sentence｜>
    r"|<\|?(?:turn|channel)\|?>"  # Gemma 4
    r"|</?s>|\[/?INST\]|<</?SYS>>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS)\]"  # Llama 2, Mistral
    r"|</?(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>|<unused\d+>"  # Gemma
    r"|<\|?endoftext\|?>|\[(?:BOS|EOS|gMASK)\]|<sop>|<eod>"  # GPT-2, GLM
)
"""Special tokens of chat templates; in an answer they are marks that the server left there."""

TOOL_MARK = re.compile(
    r"</?tool_calls?>|<function=|<function_calls?>|</?invoke\b|\[TOOL_CALLS\]|<\|python_tag\|>"
    r"|<[|｜]tool[▁_]calls?[▁_]begin[|｜]>|<minimax:tool_call>|<\|tool_call"
)
"""Calls of tools that a server left in the text: Hermes, Llama, Mistral, DeepSeek, MiniMax."""

_ENDINGS = {re.sub(r"[^a-z0-9]", "", said.word): said.ending for said in FINISH_REASONS}
_PREFIX = re.compile(r"^(?:finishreason|stopreason)(?=.)")
WORST_FIRST: tuple[Ending, ...] = ("failed", "refused", "cut", "tool", "unknown", "whole")


def ending(reason: object) -> Ending:
    """What a finish reason means, whatever its case and separators.

    `MAX_TOKENS`, `maxTokens`, `max-tokens`, `FinishReason.MAX_TOKENS` and `{"type": "length"}`
    are alike. `None`, a blank, and what stands in no row of `FINISH_REASONS` is `unknown`.
    """
    if isinstance(reason, Mapping):
        reason = reason.get("type") or reason.get("reason")
    if not isinstance(reason, str):
        return "unknown"
    word = re.sub(r"[^a-z0-9]", "", reason.casefold())
    return _ENDINGS.get(word) or _ENDINGS.get(_PREFIX.sub("", word), "unknown")
