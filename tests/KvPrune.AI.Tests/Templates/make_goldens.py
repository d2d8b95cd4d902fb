"""Writes goldens.json: what Jinja 2 (3.1) makes of the templates below, for the tests of the chat template interpreter.

Run it in this folder with jinja2 3.1 installed: python3 make_goldens.py

The environment is the one chat templates are written for: trim_blocks and lstrip_blocks on, tojson without HTML escapes.
Every case has a template, the name of a conversation, add_generation_prompt and either "output" or "error" (it fails while rendering;
"raised" holds the message where the template itself called raise_exception).
"""

import json
import pathlib
import random
import warnings

import jinja2.filters
import jinja2.runtime
from jinja2 import pass_context
from jinja2.exceptions import TemplateError
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(value, indent=None):
    return json.dumps(value, ensure_ascii=False, indent=indent)


class Unsupported(Exception):
    pass


def printable(value):
    """Refuses to print lists and mappings as Python writes them, which the interpreter refuses too."""
    if isinstance(value, (list, tuple, dict, LoopContext)):
        raise Unsupported
    return value


@pass_context
def finalize(context, value):
    return printable(value)


def join(values):
    """The operator ~."""
    return "".join(str(printable(value)) for value in values)


def trim(value, characters=None):
    return jinja2.filters.do_trim(printable(value), characters)


class Environment(ImmutableSandboxedEnvironment):
    """Refuses to repeat and to format text with operators, which the interpreter refuses too."""

    intercepted_binops = frozenset(["*", "%"])

    def call_binop(self, context, operator, left, right):
        if not isinstance(left, (int, Undefined)) or not isinstance(right, (int, Undefined)):
            raise Unsupported
        return super().call_binop(context, operator, left, right)


def make_environment():
    # Folding of constants (the optimizer, and printing without a finalizer that takes a context) would turn some errors, such
    # as a slice of a number, into undefined values in constant expressions only.
    environment = Environment(trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=finalize)
    environment.filters["tojson"] = tojson
    environment.filters["trim"] = trim
    environment.globals["raise_exception"] = raise_exception
    return environment


warnings.simplefilter("ignore", SyntaxWarning)  # Python's, on the code Jinja makes of odd random templates
jinja2.runtime.str_join = jinja2.runtime.markup_join = join
ENVIRONMENT = make_environment()


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = {
    "empty": [],
    "one": [turn("user", "Hello there")],
    "chat": [
        turn("user", "  What is 2+2?\n"),
        turn("assistant", "\tIt is <b>4</b> & 'sure' \"yes\".  "),
        turn("user", "Thanks,\nand 3+3?"),
    ],
    "system": [
        turn("system", " Be brief.\n\n"),
        turn("user", "Gr\u00fc\u00df dich \U0001F600\u200d\U0001F680 \u4f60\u597d \U00020000"),
        turn("assistant", "\u00a0\u2003ok\u3000\x1f"),
        turn("user", "<|end|><|im_end|></s>[INST] {{ 1 }} {% if %}\r\nx\ttab\\ \x07"),
    ],
    "wrong order": [turn("assistant", "I begin"), turn("assistant", "again"), turn("user", "")],
    "unknown role": [turn("user", "a"), turn("tool", "b")],
}

# Whole templates, written for these tests after the manner of the families they are named for.
WHOLE = {
    "phi": (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
    ),
    "phi-im": (
        "{% for message in messages %}"
        "{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}"
        "{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}"
        "{% elif (message['role'] == 'assistant') %}"
        "{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
    ),
    "mistral": (
        "{%- if messages[0]['role'] == 'system' %}\n"
        "    {%- set system_message = messages[0]['content'] %}\n"
        "    {%- set turns = messages[1:] %}\n"
        "{%- else %}\n"
        "    {%- set turns = messages %}\n"
        "{%- endif %}\n\n"
        "{{- bos_token }}\n"
        "{%- for message in turns %}\n"
        "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
        "        {{- raise_exception('Roles must alternate user/assistant after the system message') }}\n"
        "    {%- endif %}\n"
        "    {%- if message['role'] == 'user' %}\n"
        "        {%- if loop.last and system_message is defined %}\n"
        "            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}\n"
        "        {%- else %}\n"
        "            {{- '[INST] ' + message['content'] + '[/INST]' }}\n"
        "        {%- endif %}\n"
        "    {%- elif message['role'] == 'assistant' %}\n"
        "        {{- ' ' + message['content'].strip() + eos_token }}\n"
        "    {%- else %}\n"
        "        {{- raise_exception('Only user and assistant follow the system message, not ' + message.role) }}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
    ),
    "qwen": (
        "{%- if tools %}\n"
        "    {{- '<|im_start|>system\\n' }}\n"
        "    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}\n"
        "    {{- '<|im_end|>\\n' }}\n"
        "{%- else %}\n"
        "    {%- if messages[0]['role'] == 'system' %}\n"
        "        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n"
        "    {%- else %}\n"
        "        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}\n"
        "    {%- endif %}\n"
        "{%- endif %}\n"
        "{%- for message in messages %}\n"
        '    {%- if (message.role == "user") or (message.role == "system" and not loop.first)'
        ' or (message.role == "assistant" and not message.tool_calls) %}\n'
        "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
        '    {%- elif message.role == "tool" %}\n'
        '        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}\n'
        "            {{- '<|im_start|>user' }}\n"
        "        {%- endif %}\n"
        "        {{- '\\n<tool_response>\\n' }}\n"
        "        {{- message.content }}\n"
        "        {{- '\\n</tool_response>' }}\n"
        '        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}\n'
        "            {{- '<|im_end|>\\n' }}\n"
        "        {%- endif %}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|im_start|>assistant\\n' }}\n"
        "{%- endif %}\n"
    ),
    "gemma": (
        "{{ bos_token }}\n"
        "{%- if messages[0]['role'] == 'system' -%}\n"
        "    {%- if messages[0]['content'] is string -%}\n"
        "        {%- set prefix = messages[0]['content'] + '\\n\\n' -%}\n"
        "    {%- else -%}\n"
        "        {%- set prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}\n"
        "    {%- endif -%}\n"
        "    {%- set turns = messages[1:] -%}\n"
        "{%- else -%}\n"
        '    {%- set prefix = "" -%}\n'
        "    {%- set turns = messages -%}\n"
        "{%- endif -%}\n"
        "{%- for message in turns -%}\n"
        "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n"
        '        {{ raise_exception("Conversation roles must alternate user/assistant") }}\n'
        "    {%- endif -%}\n"
        "    {%- if (message['role'] == 'assistant') -%}\n"
        '        {%- set role = "model" -%}\n'
        "    {%- else -%}\n"
        "        {%- set role = message['role'] -%}\n"
        "    {%- endif -%}\n"
        "    {{ '<start_of_turn>' + role + '\\n' + (prefix if loop.first else \"\") }}\n"
        "    {%- if message['content'] is string -%}\n"
        "        {{ message['content'] | trim }}\n"
        "    {%- elif message['content'] is iterable -%}\n"
        "        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}\n"
        "    {%- else -%}\n"
        '        {{ raise_exception("Invalid content type") }}\n'
        "    {%- endif -%}\n"
        "    {{ '<end_of_turn>\\n' }}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt -%}\n"
        "    {{'<start_of_turn>model\\n'}}\n"
        "{%- endif -%}\n"
    ),
    "bundled": json.loads(
        (HERE / "../../../models/tiny-retrieval-llama/tokenizer_config.json").read_text())["chat_template"],
    "plain text with blocks": (
        "System header\n"
        "  {% for message in messages %}\n"
        "    {# each turn #}\n"
        "  * {{ loop.index }}/{{ loop.length }} {{ message.role }}:\n"
        "    {{- message.content | trim }}\n"
        "  {% else %}\n"
        "  nothing said\n"
        "  {% endfor %}\n"
        "\n"
        "  {%+ if add_generation_prompt +%}\n"
        "go\n"
        "  {% endif %}\n"
        "end\n\n"
    ),
}

# Constructs one by one.
SMALL = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a \n  {% if true %}  \n b {% endif %}\n\n c",
    "a  {%- if true -%}  \n b \t {%- endif -%}\n\n c",
    "  {%+ if true %}x{% endif +%}\n  y",
    "  {{ 1 }}\n  {{- 2 -}}  \n  {{ 3 }}\n",
    "x {# a comment {{ }} {% #}\n  {# another #}\n  {#- third -#}  \ny{#+ keep +#}\nz {#-#} w",
    "\r\n{% if true %}\r\nwindows\r\n{% endif %}\rmac\n\n",
    "{% for m in messages %}{{ loop.index }},{{ loop.index0 }},{{ loop.revindex }},{{ loop.revindex0 }},"
    "{{ loop.first }},{{ loop.last }},{{ loop.length }},{{ loop.depth }},{{ loop.depth0 }};{% endfor %}",
    "{% for m in messages %}{% for n in messages %}{{ loop.depth }}{{ loop.index }} {% endfor %}{{ loop.index }}|{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}"
    ">{{ m.role }}>{{ loop.nextitem.role if not loop.last }} {% endfor %}",
    "{% for m in messages if m.role == 'user' %}[{{ loop.index }} {{ m.content }}]{% else %}none{% endfor %}",
    "{% for m in messages if m.role == 'nobody' %}x{% else %}nobody{% endfor %}",
    "{% for c in messages[0].content %}{{ c }}.{% endfor %}",
    "{% for k in messages[0] %}{{ k }}={{ messages[0][k] }};{% endfor %}",
    "{% for x in missing %}x{% else %}empty{% endfor %}",
    "{% for x in [1, 'two', none, true, [3]] %}{{ x is number }}{{ x is string }}{{ x is none }}{{ x is boolean }}"
    "{{ x is integer }}{{ x is sequence }}{{ x is iterable }}{{ x is mapping }}{{ x is true }}{{ x is false }} {% endfor %}",
    "{{ messages is sequence }}{{ messages is iterable }}{{ messages is mapping }}{{ messages is string }}",
    "{{ {'a': 1} is mapping }}{{ {'a': 1} is iterable }}{{ {'a': 1} is sequence }}{{ 'a' is sequence }}{{ none is iterable }}",
    "{{ x is defined }}{{ x is undefined }}{{ x is none }}{{ x is string }}{{ x is iterable }}{{ x is sequence }}{{ x is mapping }}",
    "{{ x is not defined }} {{ tools is defined }} {{ tools is none }} {{ not tools }} {{ eos_token is defined }} {{ unk_token is defined }}",
    "{% set x = 'a' %}{% if true %}{% set x = x + 'b' %}{% endif %}{{ x }}{% for i in [1,2] %}{{ x }}{% set x = 'c' %}{{ x }}{% endfor %}{{ x }}",
    "{% set x %}in {{ bos_token }}\n{% endset %}[{{ x }}]",
    "{% set t = messages[0].content | trim if messages else 'nothing' %}{{ t }}",
    "{{ 'a' 'b' \"c\" }}{{ \"q'\" + 'q\"' }}{{ 'tab\\tnl\\nq\\'s\\\\ \\x41\\u00e9\\U0001F600 \\d' }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ -7 // -2 }} {{ - 3 + +4 }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ missing ~ 'b' }} {{ 1 ~ 2 + 3 ~ 4 if false else 'x' }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1 != 2 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ 2 >= 2 }} {{ 3 > 4 }} {{ 'ab' <= 'abc' }}",
    "{{ 'b' in 'abc' }}{{ 'x' not in 'abc' }}{{ 1 in [1, 2] }}{{ 'role' in messages[0] }}{{ 'z' in missing }}{{ not 'a' in 'b' }}{{ 'a' in ('a', 'b') }}",
    "{{ 1 == true }}{{ 0 == false }}{{ 1 == '1' }}{{ none == missing }}{{ missing == gone }}{{ [1, [2]] == [1, [2]] }}{{ {'a': 1} == {'a': 1} }}{{ true + true }}",
    "{{ none or 'x' }} {{ '' or [] or 'y' }} {{ 'a' and 'b' }} {{ '' and 'b' }}| {{ not '' }} {{ not 0 or false }} {{ true and not false }}",
    "{{ 'yes' if messages else 'no' }}{{ 'yes' if '' }}|",
    "{{ 'a' if false else 'b' if false else 'c' }} {{ ('a' if true else 'b') ~ 'z' }}",
    "{% if messages and messages[0].role == 'user' and not tools %}plain{% elif messages %}other{% else %}empty{% endif %}",
    "{% if false %}1{% elif false %}2{% elif true %}3{% else %}4{% endif %}{% if not true %}x{% endif %}",
    "{% set s = 'h\u00e9llo\U0001F600w\u00f6rld' %}{{ s[0] }}{{ s[-1] }}{{ s[5] }} {{ s[1:3] }} {{ s[:-3] }} {{ s[-4:] }} {{ s[::2] }} {{ s[::-1] }} {{ s[4:7] }} {{ s[8:2:-2] }} {{ s[9:1] }}|{{ s[-99:99] }}",
    "{% set l = [0,1,2,3,4] %}{{ l[1:] | tojson }}{{ l[:-1] | tojson }}{{ l[::-1] | tojson }}{{ l[-2:] | tojson }}{{ l[3:0:-1] | tojson }}{{ l[10:] | tojson }}{{ l[::3] | tojson }}{{ l[-1] }}{{ l[1:4][1] }}",
    "{% for m in messages[1:] %}{{ m.role[0] }}{% endfor %}|{% for m in messages[::-1] %}{{ m.role[:2] }}{% endfor %}|{{ messages[-1].content[:5] }}",
    "{{ messages | tojson }}",
    "{{ messages | tojson(indent=2) }}{{ [] | tojson(indent=4) }}{{ {} | tojson }}{{ [1, [2, {'k': none}], true] | tojson(indent=0) }}",
    "{{ '<a href=\"x\">&\\'</a>\\b\\f\\x00\\x1f\\x7f\\u2028\u00e9\U0001F600/' | tojson }}",
    "{{ {'name': 'x', 'list': [1, 2, none, false], 'nested': {'a': 'b'}} | tojson }}",
    "{{ '  a b \\n' | trim }}|{{ '..a..' | trim('.') }}|{{ 5 | trim }}|{{ none | trim }}|{{ missing | trim }}|{{ 'xay'.strip('xy') }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|",
    "{% for m in messages %}[{{ m.content.strip() }}][{{ m['content'] | trim }}][{{ m.content.rstrip() }}]{% endfor %}",
    "{{ messages[0].nothing }}|{{ messages[99] }}|{{ 'abc'[7] }}|{{ 'abc'['x'] }}|{{ none.x }}|{{ (1).x }}|{{ messages['x'] }}|{{ 'a'.b }}|",
    "{{ [1,2,][1] }}{{ (1,)[0] }}{{ {'a': {'b': 'c',},}.a.b }}{{ {'a': 1}['a'] }}{{ [[1, 2], [3]][0][1] }}{{ [1, 2].1 }}",
    "{{ -1 if true else 2 }}{{ - 1 | trim }}{{ not 1 == 2 }}{{ 'a' + 'b' | trim + 'c' }}{{ 2 * 3 ~ 4 }}{{ 1 + 1 is number }}",
    "{{ True }}{{ False }}{{ None }}{{ true == True }}{{ none is none }}{{ 1000 }}",
    "{{ [1] + [2, 3] == [1, 2, 3] }}{{ 'x' if [1] + [] }}",
    "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token }}",
    "text with } braces { and % signs %} }} #} { { {",
    "{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}}['a']['b'] }}",
    "{% if (messages[0].role == 'user')\n    and add_generation_prompt\n%}\nmulti\nline\n{% endif %}\n",
    "",
    "\n",
    "\n\n",
]

# Fail while rendering.
FAILING = [
    "{{ raise_exception('no ' + messages[0].role) }}",
    "a\n{% if messages %}\n{{ raise_exception('only user\\nplease') }}{% endif %}",
    "{{ missing.attribute }}",
    "{{ messages[0].nothing.more }}",
    "{{ missing[0] }}",
    "{{ missing + 'x' }}",
    "{{ 'x' + none }}",
    "{{ 'x' + 1 }}",
    "{{ 1 < 'a' }}",
    "{{ none < 1 }}",
    "{{ missing < 1 }}",
    "{{ 1 // 0 }}",
    "{{ 1 % 0 }}",
    "{{ 1 in 'abc' }}",
    "{{ 'a' in none }}",
    "{{ 'a' in 5 }}",
    "{% for x in none %}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{{ none.strip() }}",
    "{{ missing.strip() }}",
    "{{ missing | tojson }}",
    "{{ 'abc'[::0] }}",
    "{{ 'abc'['a':] }}",
    "{{ -'a' }}",
    "{{ 'a' | trim(5) }}",
    "{{ none[1:] }}",
]


class Generator:
    """Random templates out of the supported constructs; many of them fail while rendering, which is worth comparing too."""

    NAMES = ["a", "b", "missing", "bos_token", "m"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def value(self, depth):
        r = self.random.random()
        if depth <= 0 or r < 0.3:
            return self.pick("0", "1", "2", "7", "'x'", "'ab'", "' c '", "''", "none", "true", "false", "'\u00e9\U0001F600z'",
                             "messages[0].content", "messages[-1]['role']", "[]", "[1, 'x']", *self.NAMES)
        d = depth - 1
        if r < 0.45:
            return f"({self.value(d)} {self.pick('+', '-', '*', '//', '%', '~', '~', '+')} {self.value(d)})"
        if r < 0.60:
            if self.random.random() < 0.5:
                return f"({self.scalar()} {self.pick('<', '<=', '>', '>=')} {self.scalar()})"
            return f"({self.value(d)} {self.pick('==', '!=', 'in', 'not in')} {self.value(d)})"
        if r < 0.68:
            return f"({self.value(d)} {self.pick('and', 'or')} {self.value(d)})"
        if r < 0.73:
            return f"(not {self.value(d)})"
        if r < 0.78:
            return f"({self.value(d)} if {self.value(d)} else {self.value(d)})"
        if r < 0.84:
            test = self.pick("defined", "none", "string", "number", "mapping", "sequence", "iterable", "boolean", "true", "integer")
            return f"({self.value(d)} {self.pick('is', 'is not')} {test})"
        if r < 0.90:
            bounds = [self.pick("", "0", "1", "-1", "2", "-2") for _ in range(2)]
            step = self.pick("", "", ":", ":2", ":-1")
            return f"{self.primary(d)}[{bounds[0]}:{bounds[1]}{step}]"
        if r < 0.94:
            return f"{self.primary(d)}[{self.pick('0', '-1', '3')}]"
        return f"({self.value(d)} | {self.pick('trim', 'tojson')})"

    def primary(self, depth):
        return self.pick("messages", "'h\u00e9\U0001F600llo'", "messages[0].content", "[1, 2, 3]", f"({self.value(depth)})", "a", "b")

    def scalar(self):
        # The order of lists is not supported.
        return self.pick("0", "-3", "7", "'x'", "'ab'", "'\U0001F600'", "'\ufb01'", "true", "none", "missing", "messages[0].content")

    def expression(self):
        # Operators without parentheses, so that precedence matters.
        parts = [self.value(1)]
        for _ in range(self.random.randrange(4)):
            parts.append(self.pick("+", "-", "*", "%", "//", "~", "==", "!=", "and", "or", "and not", "or not", "in", "not in"))
            parts.append(self.value(1))
        return " ".join(parts)

    def statements(self, depth):
        return "".join(self.statement(depth) for _ in range(self.random.randrange(1, 4)))

    def tag(self, text):
        return "{%" + self.pick("", "", "-", "+") + f" {text} " + self.pick("", "", "-", "+") + "%}"

    def statement(self, depth):
        text = self.pick("", " ", "\n", "  \n ", "t", " t\n", "\n\n")
        r = self.random.random()
        if depth <= 0 or r < 0.45:
            value = self.value(2) if self.random.random() < 0.6 else self.expression()
            return text + "{{" + self.pick("", "-") + f" {value} " + self.pick("", "-") + "}}"
        if r < 0.55:
            return text + "{#" + self.pick("", "-", "+") + " note " + self.pick("", "-", "+") + "#}" + self.pick("", "\n", " \n")
        if r < 0.70:
            return text + self.tag(f"set {self.pick('a', 'b')} = {self.value(2)}")
        if r < 0.85:
            middle = self.tag("else") + self.statements(depth - 1) if self.random.random() < 0.5 else ""
            return text + self.tag(f"if {self.value(2)}") + self.statements(depth - 1) + middle + self.tag("endif")
        items = self.pick("messages", "messages[1:]", "[1, 2]", "'xy'", self.value(1))
        inner = self.pick("", "{{ loop.index }}", "{{ m }}", "{{ m.role }}", "{{ loop.last }}")
        return text + self.tag(f"for m in {items}") + inner + self.statements(depth - 1) + self.tag("endfor")


def render(name, template, conversation, prompt):
    case = {"name": name, "template": template, "conversation": conversation, "add_generation_prompt": prompt}
    try:
        case["output"] = ENVIRONMENT.from_string(template).render(
            messages=CONVERSATIONS[conversation], add_generation_prompt=prompt, tools=None, documents=None, **TOKENS)
    except Raised as raised:
        case["error"] = "raise_exception"
        case["raised"] = str(raised)
    except Unsupported:
        case["error"] = "Unsupported"
    except (TemplateError, TypeError, ValueError, ZeroDivisionError) as error:
        case["error"] = type(error).__name__
    return case


def main():
    cases = []
    for name, template in WHOLE.items():
        for conversation in CONVERSATIONS:
            for prompt in (False, True):
                cases.append(render(f"{name}, {conversation}", template, conversation, prompt))
    for number, template in enumerate(SMALL):
        for conversation in ("chat", "system"):
            cases.append(render(f"small {number}, {conversation}", template, conversation, True))
    for number, template in enumerate(FAILING):
        case = render(f"failing {number}", template, "chat", True)
        assert "error" in case, template
        cases.append(case)

    generator = Generator(20240607)
    wanted = {"output": 500, "error": 200}
    while any(wanted.values()):
        template = generator.statements(3)
        case = render(f"random {len(cases)}", template, "chat", True)
        kind = "output" if "output" in case else "error"
        if wanted[kind] and len(template) < 600:
            wanted[kind] -= 1
            cases.append(case)

    lines = ",\n".join(json.dumps(case) for case in cases)
    head = f'"tokens": {json.dumps(TOKENS)},\n"conversations": {json.dumps(CONVERSATIONS)}'
    (HERE / "goldens.json").write_text(f'{{{head},\n"cases": [\n{lines}\n]}}\n')
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
