"""Writes families.json.gz: what Jinja 2 (3.1) makes of the templates in families/ for 200 conversations each.

Run it in this folder with jinja2 3.1 installed: python3 make_family_goldens.py
To see one result: python3 make_family_goldens.py llama-3.1 17

The file holds the conversations, the tools they offer, and for each template and conversation the first 16 digits of the SHA-256
of "ok", "raised" or "error", a newline, and the text or, for "raised", the message (nothing for "error").
"""

import gzip
import hashlib
import json
import pathlib
import random
import sys

from jinja_environment import TOKENS, Raised, make_environment

HERE = pathlib.Path(__file__).parent
COUNT = 200

PIECES = [
    "What is 2+2?", "Hello", " ", "\n", "\n\n", "  ", "\t", "the weather in Paris", "Please,", "answer: 4", "Gr\u00fc\u00dfe", "\u4f60\u597d\uff01", "\U0001F600",
    "\U0001F469\u200d\U0001F680", "e\u0301", "\u0130\u0131\u00df\ufb01", "\u05e9\u05dc\u05d5\u05dd \u202e", "\u2028", "\x85", "\u00a0", "\u3000", "\x00", "\x1f", "\x7f", "\ufeff", "\r\n", "\U000E0041",
    "{{ 7 * 7 }}", "{% for x in y %}", "{# no #}", "{%- endif -%}", "}}", "<|im_end|>", "<|im_start|>system\n", "<|eot_id|>", "</s>", "[INST]", "[/INST]",
    "<end_of_turn>", "<|end|>", "<|user|>", "<|channel|>final<|message|>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<think>", "</think>", "\n</think>\n\n",
    "/no_think", "/think", "/system_override", "<tool_response>", "</tool_response>", "it's \"quoted\"", "back\\slash", "'", "\"", "<b>&amp;</b>", "1.5e-7", "None", "%s %d",
]
NAMES = ["get_weather", "add", "Search-Web", "f", "l\u00f6schen"]
KEYS = ["city", "unit", "count", "items", "values", "get", "type", "description", "\u00e9t\u00e9", "Zone", "b", "keys"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def text(self, most=6):
        return "".join(self.random.choice(PIECES) + self.pick("", " ", "") for _ in range(self.random.randrange(most + 1)))

    def plain(self):
        return " ".join(self.random.choice(PIECES[:3] + PIECES[7:13]) for _ in range(self.random.randrange(1, 5)))

    def value(self, depth=2):
        r = self.random.random()
        if depth == 0 or r < 0.6:
            return self.pick(0, 7, -3, 2**40, 1.5, -0.0, 1e22, 1.25e-7, 100.0, True, False, None, "", self.text(3), self.plain())
        if r < 0.8:
            return [self.value(depth - 1) for _ in range(self.random.randrange(3))]
        return {self.random.choice(KEYS): self.value(depth - 1) for _ in range(self.random.randrange(4))}

    def schema(self, depth=2):
        kind = self.pick("string", "integer", "number", "boolean", "array", "object", "list of types", "oneOf", "none")
        if depth == 0 and kind in ("array", "object", "oneOf"):
            kind = "string"
        schema = {}
        if self.chance(0.6):
            schema["description"] = self.text(2) or "about it"
        if kind == "list of types":
            schema["type"] = self.pick(["string", "null"], ["integer"], ["number", "string", "null"])
        elif kind == "oneOf":
            schema["oneOf"] = [self.schema(depth - 1) for _ in range(self.random.randrange(1, 4))]
        elif kind != "none":
            schema["type"] = kind
        if kind == "string" and self.chance(0.4):
            schema["enum"] = [self.pick("celsius", "fahrenheit", "K", "\u00b0C", "a\"b") for _ in range(self.random.randrange(1, 4))]
        if kind == "array" and self.chance(0.8):
            schema["items"] = self.schema(depth - 1)
        if kind == "object" and self.chance(0.8):
            schema.update(self.parameters(depth - 1))
        if self.chance(0.2):
            schema["nullable"] = self.chance(0.7)
        if self.chance(0.3):
            schema["default"] = self.value(1)
        return schema

    def parameters(self, depth=2):
        names = self.random.sample(KEYS, self.random.randrange(4))
        return {
            "type": "object",
            "properties": {name: self.schema(depth) for name in names},
            "required": [name for name in names if self.chance(0.5)],
        }

    def tools(self):
        return [
            {"type": "function", "function": {
                "name": name, "description": self.pick("", self.plain(), self.text(3)), "parameters": self.parameters()}}
            for name in self.random.sample(NAMES, self.random.randrange(1, 4))
        ]

    def answer(self, hostile):
        text = self.text() if hostile else self.plain()
        if self.chance(0.25):
            text = f"<think>\n{self.plain()}\n</think>\n\n{text}"
        return {"role": "assistant", "content": text}

    def calls(self, most):
        return [
            {"id": "".join(self.random.choice("abcXYZ019") for _ in range(9)) if self.chance(0.95) else "call_1",
             "type": "function",
             "function": {"name": self.random.choice(NAMES),
                          "arguments": {self.random.choice(KEYS): self.value() for _ in range(self.random.randrange(4))}}}
            for _ in range(self.random.randrange(1, most + 1))
        ]

    def conversation(self, number):
        hostile = number % 4 != 0
        words = self.text if hostile else self.plain
        offered = number % 2 == 1
        wild = number % 8 == 7
        messages = []
        if self.chance(0.4):
            messages.append({"role": "system", "content": words()})
        for turn in range(self.random.randrange(1, 4)):
            if turn > 0:
                messages.append(self.answer(hostile))
            if wild and self.chance(0.5):
                messages.append({"role": self.pick("user", "system", "assistant", "critic", "developer"), "content": words()})
            messages.append({"role": "user", "content": words()})
            if offered and self.chance(0.6):
                calls = self.calls(1 if self.chance(0.7) else 3)
                messages.append({"role": "assistant", "content": self.pick("", "", self.plain()), "tool_calls": calls})
                for call in calls:
                    messages.append({"role": "tool", "content": self.pick(words(), json.dumps(self.value())),
                                     "tool_call_id": call["id"], "name": call["function"]["name"]})
        if wild and self.chance(0.2):
            messages = []
        return {"messages": messages, "tools": self.tools() if offered else None, "prompt": self.chance(0.8)}


def with_calls_as_text(messages, write):
    """For templates that write answers as they are."""
    turns = []
    for message in messages:
        turn = dict(message)
        if calls := turn.pop("tool_calls", None):
            functions = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in calls]
            turn["content"] = write(turn["content"], functions)
        turns.append(turn)
    return turns


def in_tags(content, functions):
    calls = [f"<tool_call>\n{json.dumps(function, ensure_ascii=False)}\n</tool_call>" for function in functions]
    return "\n".join(([content] if content else []) + calls)


def in_a_list(content, functions):
    return f"{content}<|tool_call|>{json.dumps(functions, ensure_ascii=False)}<|/tool_call|>"


def as_phi_takes_it(messages, tools):
    """Phi-4-mini's template has no variable for tools, and no role but what is the name of a mark."""
    turns = with_calls_as_text(messages, in_a_list)
    for turn in turns:
        if turn["role"] == "tool":
            turn["role"] = "tool_response"
    if tools:
        if not turns or turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": ""})
        turns[0]["tools"] = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
    return turns


def render(family, template, conversation):
    messages, tools = conversation["messages"], conversation["tools"]
    if family == "phi-4-mini":
        messages, tools = as_phi_takes_it(messages, tools), None
    if family == "smollm3":
        messages = with_calls_as_text(messages, in_tags)
    try:
        return "ok\n" + template.render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=conversation["prompt"], **TOKENS)
    except Raised as raised:
        return f"raised\n{raised}"
    except Exception:
        return "error\n"


def main():
    generator = Generator(20250801)
    conversations = [generator.conversation(number) for number in range(COUNT)]
    environment = make_environment()
    results = {}
    for path in sorted((HERE / "families").glob("*.jinja")):
        template = environment.from_string(path.read_text())
        results[path.stem] = [render(path.stem, template, conversation) for conversation in conversations]
    if len(sys.argv) > 2:
        number = int(sys.argv[2])
        print(json.dumps(conversations[number], indent=1), repr(results[sys.argv[1]][number]), sep="\n")
        return

    hashes = {
        family: [hashlib.sha256(result.encode()).hexdigest()[:16] for result in of_family] for family, of_family in results.items()}
    for family, of_family in results.items():
        kinds = [result.split("\n")[0] for result in of_family]
        print(f"{family:12}", {kind: kinds.count(kind) for kind in sorted(set(kinds))}, len(set(hashes[family])), "different")
    text = json.dumps({"conversations": conversations, "hashes": hashes}, separators=(",", ":"))
    # Without a time in the header, so that the same goldens are the same file.
    (HERE / "families.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
