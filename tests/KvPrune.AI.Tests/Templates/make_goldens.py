"""Writes goldens.json: what Jinja 2 (3.1) makes of the templates below, for the tests of the chat template interpreter.

Run it in this folder with jinja2 3.1 installed: python3 make_goldens.py

Every case has a template, the name of a conversation, add_generation_prompt and either "output" or "error" (it fails while rendering;
"raised" holds the message where the template itself called raise_exception).
"""

import json
import pathlib
import random
import types
import warnings

import jinja2.filters
import jinja2.runtime
from jinja2 import pass_context
from jinja2.exceptions import TemplateError
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from jinja_environment import TOKENS, Raised, make_environment

HERE = pathlib.Path(__file__).parent
VIEWS = (type({}.keys()), type({}.values()), type({}.items()), range, types.GeneratorType)


class Unsupported(Exception):
    pass


def printable(value):
    """Refuses to print what has no form of its own, which the interpreter refuses too."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, (LoopContext, Macro, Namespace, *VIEWS)) or callable(value) or hasattr(value, "__next__"):
        raise Unsupported
    return value


@pass_context
def finalize(context, value):
    return printable(value)


def soft_string(value):
    return str(printable(value))


def join(values):
    """The operator ~."""
    return "".join(soft_string(value) for value in values)


class Environment(ImmutableSandboxedEnvironment):
    """Refuses to format text with an operator, which the interpreter refuses too."""

    intercepted_binops = frozenset(["%"])

    def call_binop(self, context, operator, left, right):
        if isinstance(left, str):
            raise Unsupported
        return super().call_binop(context, operator, left, right)


# Python's warnings on the code Jinja makes of odd random templates.
warnings.simplefilter("ignore", SyntaxWarning)
jinja2.runtime.str_join = jinja2.runtime.markup_join = join
jinja2.filters.soft_str = soft_string
# Folding of constants (the optimizer, and printing without a finalizer that takes a context) would turn some errors, such
# as a slice of a number, into undefined values in constant expressions only.
ENVIRONMENT = make_environment(Environment, optimized=False, finalize=finalize)
ENVIRONMENT.filters["string"] = soft_string


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

    # Namespaces, macros, unpacking, loop controls.
    "{% set ns = namespace(a=1, found=false) %}{% for m in messages %}{% if not ns.found and m.role == 'assistant' %}{% set ns.found = true %}{% set ns.a = loop.index %}{% endif %}{% endfor %}{{ ns.a }}{{ ns.found }}{{ ns.gone }}{{ ns['a'] }}{{ ns is defined }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{% set ns.c %}block {{ ns.a }}{% endset %}{{ ns.c }}{{ namespace() == namespace() }}",
    "{% macro f(a, b=2, c=b) %}[{{ a }} {{ b }} {{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c=4) }}{{ f(b=5, a=6) }}{{ f() }}{{ f('x') ~ 'y' }}{{ f is defined }}{{ f is callable }}",
    "{% set x = 'outer' %}{% macro f() %}{{ x }}{% set x = 'inner' %}{{ x }}{{ y }}{% endmacro %}{% set y = 'later' %}{{ f() }}{{ x }}{% set x = 'changed' %}{{ f() }}",
    "{% macro even(n) %}{{ 'yes' if n == 0 else odd(n - 1) }}{% endmacro %}{% macro odd(n) %}{{ 'no' if n == 0 else even(n - 1) }}{% endmacro %}{{ even(10) }}{{ even(7) }}",
    "{% macro list(items) -%}\n  <{% for i in items %}{{ i if i is not sequence or i is string else list(i) }}{{ ',' if not loop.last }}{% endfor %}>\n{%- endmacro %}{{ list([1, [2, [3, 'x']], []]) }}",
    "{% for m in messages %}{% macro f() %}{{ m.role }}{% endmacro %}{{ f() }}{% endfor %}{{ f is defined }}",
    "{% macro f(x) %}{{ x.role }}{% endmacro %}{% for m in messages %}{{ f(m)[0] }}{% endfor %}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for (a, b) in [[1, 2], 'xy', (3, 4)] %}{{ a }}{{ b }}{% endfor %}",
    "{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set (a, b) = (b, a) %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}{{ t == (1, 2) }}{{ t == [1, 2] }}{{ 1, }}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}{% for k, v in {'b': 1, 'a': 2} | dictsort if v > 1 %}{{ k }}{{ v }}{{ loop.length }}{% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% else %}none{% endfor %}|{% for x in [1] %}{% break %}{% else %}x{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{{ x }}{% endfor %}{% for x in [1, 2] %}{% set b %}a{% continue %}{% endset %}{{ b }}{% endfor %}",
    "a {% generation %} b {{ bos_token }}{% set inside = 1 %}\n{% endgeneration %}\n c{{ inside }}",
    "{{ range(3) | list }}{{ range(1, 8, 3) | list }}{{ range(5, 0, -2) | list }}{{ range(0) | list }}{{ range(3)[1] }}{{ range(4) | length }}{{ dict(a=1, b='x') }}{{ dict({'c': 1}, a=2) }}",
    "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %y %j %p %I %e %% %-d %-m %-I') }}{{ strftime_now is defined }}{{ raise_exception is defined }}{{ lower is defined }}",
    # Numbers and values as text.
    "{{ 1.5 }} {{ 2.0 }} {{ 1e3 }} {{ 1e16 }} {{ 1.0e22 }} {{ 1e-4 }} {{ 1.5e-5 }} {{ 0.1 + 0.2 }} {{ 7 / 2 }} {{ 8 / 2 }} {{ 7 // 2.0 }} {{ -7 // 2.0 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ -1.5 }} {{ 2 * 1.5 }} {{ 1.5 ~ '' }} {{ 123456789.125 }} {{ 1e15 }} {{ 0.0 }} {{ -0.0 }}",
    "{{ 1.0 == 1 }}{{ 1.5 > 1 }}{{ 1.5 is float }}{{ 1.5 is number }}{{ 1.5 is integer }}{{ [1.5, 2] | tojson }}{{ 1.0 in [1] }}{{ [0, 1][true] }}{{ 1.5 | int }}{{ -1.5 | int }}{{ 2.5 | abs }}{{ -3 | abs }}",
    "{{ [1, 'two', none, true, 1.5, [], {}, {'a': 'b'}, (), (1,), (1, 2)] }}{{ messages[0] }}",
    "{{ ['it\\'s', '\"', 'both \\'\"', '\\\\', '\\n\\t\\r', '\\x00\\x1f\\x7f\\x85\\xa0\\xad', '\\u200b\\u2028\\ue000\\ufeff', '\\U0001F600\\U000E0041', '\u00e9'] }}",
    "{{ 'ab' * 3 }}{{ 2 * 'x' }}{{ 'x' * 0 }}{{ 'x' * -1 }}{{ [1] * 2 }}{{ (1,) * 2 }}{{ (1,) + (2,) }}{{ 'x' * true }}",
    "{{ {'a': 1} ~ [1] }}{{ [] ~ '' }}{{ [1, 2] | string | length }}{{ none | string }}{{ {'items': 1}['items'] }}{{ {'items': 1}.items is callable }}{{ {'x': {'items': 2}}.x['items'] }}{{ {}['get'] is defined }}{{ 'a'.upper is defined }}",
    # Filters.
    "{{ 'h\u00e9llo\U0001F600' | length }}{{ [1, 2] | count }}{{ {'a': 1} | length }}{{ missing | length }}{{ '' | length }}",
    "{{ missing | default('x') }}{{ none | default('x') }}{{ none | default('x', true) }}{{ '' | d('y', boolean=true) }}{{ missing | default }}{{ 0 | default(5) }}{{ missing | default(none) }}{{ (missing | default([1]))[0] }}",
    "{{ [1, 'a', none, 1.5] | join(', ') }}{{ messages | join(' ', attribute='role') }}{{ 'abc' | join('-') }}{{ [] | join('x') }}{{ [1, 2] | join }}{{ {'a': 1, 'b': 2} | join(d=',') }}{{ missing | join(',') }}",
    "{{ [1, 2, 3] | first }}{{ [1, 2, 3] | last }}{{ 'xyz' | first }}{{ 'xyz' | last }}{{ [] | first is defined }}{{ [] | last }}{{ {'a': 1} | first }}{{ {'a': 1, 'b': 2} | last }}{{ 'ab' | list }}{{ {'a': 1} | list }}{{ (1, 2) | list }}",
    "{{ [3, 1, 2] | sort }}{{ ['b', 'A', 'a', 'B'] | sort }}{{ ['b', 'A', 'a', 'B'] | sort(case_sensitive=true) }}{{ [3, 1, 2] | sort(reverse=true) }}{{ messages | sort(attribute='content') | map(attribute='role') | list }}{{ messages | sort(attribute='role,content') | map(attribute='content') | list }}{{ 'bca' | sort }}{{ [none, none] | sort }}{{ messages | sort(attribute='gone') | length }}",
    "{{ [1, 2, 1, 'a', 'A', none, true] | unique | list }}{{ ['a', 'A'] | unique(case_sensitive=true) | list }}{{ messages | unique(attribute='role') | map(attribute='role') | join }}",
    "{{ {'b': 1, 'A': 3, 'c': 2} | dictsort }}{{ {'b': 1, 'A': 3} | dictsort(true) }}{{ {'b': 1, 'A': 3} | dictsort(by='value', reverse=true) }}{{ {'b': 1} | items | list }}{{ missing | items | list }}",
    "{{ ['a', 'b'] | map('upper') | list }}{{ messages | map(attribute='role') | join(',') }}{{ messages | map(attribute='x', default='-') | list }}{{ ['a-b', 'c-d'] | map('replace', '-', '+') | list }}{{ [['a', 1], ['b', 2]] | map(attribute=0) | list }}{{ [{'a': {'b': 1}}] | map(attribute='a.b') | list }}{{ [[1, 2]] | map('join', '+') | list }}",
    "{{ [1, 'a', none, 0] | select | list }}{{ [1, 'a', none, 0] | reject | list }}{{ [1, 'a', 2] | select('number') | list }}{{ [1, 2, 3] | select('gt', 1) | list }}{{ [1, 2, 3] | reject('divisibleby', 2) | list }}{{ [1, 2, 3] | select('in', [1, 3]) | list }}{{ [1, 2] | select('==', 2) | list }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | list }}{{ messages | selectattr('tools') | list }}{{ messages | selectattr('content', 'defined') | list | length }}{{ (messages | selectattr('role', 'in', ['user']) | first).role }}{{ 'x' if messages | selectattr('role', 'equalto', 'nobody') }}",
    "{% set g = messages | map(attribute='role') %}{{ g | list }}{{ g | list }}{% set g = [1, 2] | select %}{{ 1 in g }}{{ g is iterable }}{{ g is sequence }}{{ g is string }}{% for x in [1, 2] | map('string') %}{{ loop.length }}{{ x }}{% endfor %}",
    "{{ 'stra\u00dfe \ufb01 \u01c6 \u0149' | upper }}{{ 'STRA\u00dfE \u0130I' | lower }}{{ 'hello wORLD-foo (bar) [baz {x <y it\\'s 3rd' | title }}{{ 'hello wORLD-foo it\\'s 3rd' .title() }}{{ '\u00dfx ABC' | capitalize }}{{ '\u01c6a'.capitalize() }}{{ 5 | upper }}{{ none | capitalize }}",
    "{{ 'aXbXc' | replace('X', '-') }}{{ 'aXbXc' | replace('X', '-', 1) }}{{ 'abc' | replace('', '.') }}{{ 5 | replace(5, 'x') }}{{ 'a\U0001F600b'.replace('', '.') }}{{ 'abc'.replace('', '.', 2) }}{{ 'aaa'.replace('aa', 'b') }}{{ 'a' | replace(old='a', new='c') }}",
    "{{ 'a\\nb\\n\\nc\\n' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(width=1, blank=true) }}|{{ 'a\\r\\nb' | indent('>>') }}|{{ '' | indent(2, true) }}|{{ 'a\\n' | indent(first=true) }}|",
    "{{ '12' | int }}{{ ' -7 ' | int }}{{ 'x' | int }}{{ 'x' | int(9) }}{{ '12.7' | int }}{{ none | int }}{{ '1.5' | float }}{{ 'x' | float }}{{ 3 | float }}{{ true | int }}{{ '1e3' | float }}{{ [] | int(default=none) }}",
    "{{ [1, 2] | reverse | list }}{{ 'abc' | reverse }}{{ {'a': 1, 'b': 2} | reverse | list }}{{ ('<b>' | safe) ~ '<i>' }}{{ [{'b': 1, 'a': [1, 2]}] | tojson(sort_keys=true) }}{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}{{ '\u00e9\U0001F600\x7f' | tojson(true) }}{{ {'a': [1]} | tojson(indent=2, separators=(', ', '=')) }}{{ [1e16, 1.5, -0.0] | tojson(ensure_ascii=false, indent=none) }}",
    "{% set all = '\u00df\u0149\u01f0\u0390\u0587\u1e96\u1f50\u1f80\u1f88\u1fb3\u1fb7\u1fbc\u1ff4\ufb00\ufb06\ufb13\u0131\u017f\u01c5\u01f2\u10d0\u1c90\u00ff\u00b5\U00010428\U0001e900\u0130' %}{{ all | upper }}{{ all | lower }}{{ all | list | map('capitalize') | join }}{{ all | list | map('title') | join }}",
    # Methods.
    "{{ 'a b  c '.split() }}{{ 'a,b,,c'.split(',') }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a b c '.split(none, 1) }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ' a b c '.rsplit(none, 1) }}{{ 'aXXb'.split('XX', maxsplit=-1) }}{{ '\u00a0a\u2003b\x1f'.split() }}{{ 'a,b'.split(sep=',') }}",
    "{{ 'a\\nb\\r\\nc\\rd\\x0be\\x1cf\\x85g\\u2028h\\n'.splitlines() }}{{ 'a\\r\\nb'.splitlines(true) }}{{ ''.splitlines() }}{{ '\\n'.splitlines() }}",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.startswith('') }}{{ 'abc'.startswith(()) }}{{ 'abc'.removeprefix('ab') }}{{ 'abc'.removesuffix('x') }}{{ 'a\U0001F600bc'.find('b') }}{{ 'abc'.find('x') }}{{ 'abcabc'.rfind('b') }}{{ 'aaaa'.count('aa') }}{{ 'a\U0001F600'.count('') }}{{ ', '.join(['a', 'b']) }}{{ '-'.join('xyz') }}{{ ''.join(messages | map(attribute='role')) }}",
    "{{ messages[0].get('role') }}{{ messages[0].get('x') }}{{ messages[0].get('x', 'y') }}{{ {'a': 1}.get(1) }}{{ messages[0].keys() | list }}{{ {'a': 1, 'b': 2}.values() | list }}{{ {'a': 1}.items() | list }}{{ {'a': 1}.items() | length }}{{ 'a' in {'a': 1}.keys() }}{{ 'ABC'.lower() }}{{ 'abc'.upper() }}",
    # Tests.
    "{{ 3 is odd }}{{ 3 is even }}{{ 6 is divisibleby 3 }}{{ 6 is divisibleby(4) }}{{ 'a' is in ['a'] }}{{ 'a' is not in 'b' }}{{ 1 is eq 1 }}{{ 1 is equalto 2 }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 2 is ge 2 }}{{ 1 is gt(0) }}{{ 1 is lessthan 0 }}{{ 'abc' is lower }}{{ 'ABc' is upper }}{{ '123' is lower }}{{ none is sameas none }}{{ true is sameas 1 }}{{ 1 is eq 1 and 2 is ne 3 }}{{ 3 is not divisibleby 3 }}",
    "{{ 'yes' if messages | length > 2 else 'no' }}{{ messages[-1].content.split(' ')[0] | length }}{{ (messages | first).role | upper ~ '!' }}{{ messages[0]['content'].strip().split('\\n') | last }}{{ -messages | length if false else 0 }}",
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
    "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}",
    "{% if false %}{% macro f() %}{% endmacro %}{% endif %}{{ f() }}",
    "{% set range = 5 %}{{ range(3) }}",
    "{% set x = {} %}{% set x.y = 1 %}",
    "{% set a, b = [1] %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}",
    "{{ range(100001) | list }}",
    "{{ range(1, 2, 0) | list }}",
    "{{ none | length }}",
    "{{ 5 | list }}",
    "{{ [1, 'a'] | sort }}",
    "{{ [none, 1] | sort | list }}",
    "{{ 5 | first }}",
    "{{ [1] | select | last }}",
    "{{ [1] | map('upper') | length }}",
    "{{ 'a'.split('') }}",
    "{{ 'a'.startswith(5) }}",
    "{{ ', '.join([1]) }}",
    "{{ [1].split() }}",
    "{{ none.get('x') }}",
    "{{ {}.strip() }}",
    "{{ 5 | items | list }}",
    "{{ 5 | dictsort }}",
    "{{ {'a': 1} | dictsort(by='x') }}",
    "{{ 5 | indent }}",
    "{{ 'x' | abs }}",
    "{{ namespace() | tojson }}",
    "{{ [missing] | tojson }}",
    "{{ 1 / 0 }}",
    "{{ 1.5 % 0 }}",
    "{{ 'a' * 1.5 }}",
    "{{ (1,) + [2] }}",
    "{{ 'x' is divisibleby 2 }}",
    "{{ messages | map(attribute='x.y') | list }}",
    "{{ missing.split() }}",
    "{{ {[1]: 2} }}",
    "{{ [1] in {'a': 1} }}",
]


class Generator:
    """Random templates out of the supported constructs; many of them fail while rendering, which is worth comparing too."""

    NAMES = ["a", "b", "missing", "bos_token", "m", "ns.x"]
    FILTERS = [
        "trim", "tojson", "length", "upper", "lower", "title", "capitalize", "string", "list", "first", "last", "join('-')", "default('d')",
        "default(1, true)", "replace('x', 'yz')", "replace('a', '', 1)", "unique | list", "reverse | list", "int", "int(5)", "float", "indent(2)",
        "map('string') | list", "map(attribute='role') | join(',')", "select('string') | list", "reject('none') | list",
        "selectattr('role', 'equalto', 'user') | list", "items | list", "dictsort", "tojson(indent=1)", "abs", "count", "map('upper') | join",
    ]
    METHODS = [
        "split()", "split('l')", "split(' ', 1)", "rsplit(none, 1)", "splitlines()", "startswith('h')", "endswith('o')", "replace('l', 'L')", "upper()",
        "title()", "lower()", "strip()", "find('l')", "count('l')", "get('role')", "get('x', 1)", "items() | list", "keys() | list", "role",
    ]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def value(self, depth):
        r = self.random.random()
        if depth <= 0 or r < 0.3:
            return self.pick("0", "1", "2", "7", "'x'", "'ab'", "' c '", "''", "none", "true", "false", "'\u00e9\U0001F600z'", "1.5", "-2.0", "(1, 'x')", "{'a': 1, 'role': 'x'}",
                             "messages[0].content", "messages[-1]['role']", "[]", "[1, 'x']", *self.NAMES)
        d = depth - 1
        if r < 0.45:
            return f"({self.value(d)} {self.pick('+', '-', '*', '/', '//', '%', '~', '~', '+')} {self.value(d)})"
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
            test = self.pick("defined", "none", "string", "number", "mapping", "sequence", "iterable", "boolean", "true", "integer", "float", "in [1, 'x']", "eq 1", "callable")
            return f"({self.value(d)} {self.pick('is', 'is not')} {test})"
        if r < 0.90:
            bounds = [self.pick("", "0", "1", "-1", "2", "-2") for _ in range(2)]
            step = self.pick("", "", ":", ":2", ":-1")
            return f"{self.primary(d)}[{bounds[0]}:{bounds[1]}{step}]"
        if r < 0.93:
            return f"{self.primary(d)}[{self.pick('0', '-1', '3')}]"
        if r < 0.965:
            return f"({self.value(d)} | {self.pick(*self.FILTERS)})"
        return f"{self.primary(d)}.{self.pick(*self.METHODS)}"

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
        if r < 0.88:
            return text + self.tag(self.pick("set ns.x", "set a, b") + f" = {self.value(2)}")
        if r < 0.92:
            call = "{{ f(" + self.pick("", self.value(1), "a, b", "q=b", f"1, {self.value(1)}") + ") }}"
            body = self.tag("macro f(p, q=a)") + "{{ p }}" + self.statements(depth - 1) + "{{ q }}" + self.tag("endmacro")
            return text + body + self.pick("", call) + call
        items = self.pick("messages", "messages[1:]", "[1, 2]", "'xy'", "range(3)", "messages[0].items()", self.value(1))
        target = self.pick("m", "m", "m", "a, m")
        inner = self.pick("", "{{ loop.index }}", "{{ m }}", "{{ m.role }}", "{{ loop.last }}")
        leave = self.pick("", "", "", "{% if m == 2 %}{% break %}{% endif %}", "{% if loop.first %}{% continue %}{% endif %}")
        return text + self.tag(f"for {target} in {items}") + inner + leave + self.statements(depth - 1) + self.tag("endfor")


def render(name, template, conversation, prompt):
    case = {"name": name, "template": template, "conversation": conversation, "add_generation_prompt": prompt}
    loaded = ENVIRONMENT.from_string(template)  # a template that does not load is no case
    try:
        case["output"] = loaded.render(
            messages=CONVERSATIONS[conversation], add_generation_prompt=prompt, tools=None, documents=None, **TOKENS)
    except Raised as raised:
        case["error"] = "raise_exception"
        case["raised"] = str(raised)
    except Unsupported:
        case["error"] = "Unsupported"
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
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
    assert all("output" in case for case in cases if case["name"].startswith("small"))

    generator = Generator(20240607)
    wanted = {"output": 700, "error": 250}
    while any(wanted.values()):
        template = "{% set ns = namespace(x=1) %}" + generator.statements(3)
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
