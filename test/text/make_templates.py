"""Chat templates and what transformers makes of them. Writes the fixture of the template tests.

    .venv/bin/python test/text/make_templates.py test/text/fixtures/templates.json
"""

import json
import os
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from transformers.utils.chat_template_utils import render_jinja_template  # noqa: E402

CHATS = {
    "two": [{"role": "system", "content": 'Be <brief> & "kind".'}, {"role": "user", "content": " Grüße, ß 名前 😀\n"}],
    "one": [{"role": "user", "content": "it's\t2 + 2"}],
    "four": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b\n\n"}, {"role": "user", "content": "  c"},
             {"role": "assistant", "content": ""}],
}
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
LOOP = "{% for m in messages %}"
T = {}


def add(name, *templates):
    for at, template in enumerate(templates):
        T[f"{name}-{at}" if len(templates) > 1 else name] = template


add("truth", "{{ add_generation_prompt }} {{ not add_generation_prompt }} {{ true and none }} {{ 1 or 2 }} {{ 0 and 2 }}",
    "{{ 'yes' if add_generation_prompt }}{{ 'x' if false }}", "{{ True }} {{ False }} {{ None }} {{ none is none }}")
add("numbers", "{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 3 / 2 }} {{ 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }}",
    "{{ 100000.0 * 10000000000000.0 }} {{ 0.1 / 10000 }} {{ 1.5 | int }} {{ '3' | int + 1 }} {{ 'x' | int }} {{ '2.5' | float }}",
    "{{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 7 | round }} {{ [1, 2.5] | sum }} {{ [3, 1, 2] | max }} {{ [3, 1, 2] | min }}",
    "{{ true + 1 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ 1 < 2 }} {{ 'a' < 'b' }} {{ -0.0 }} {{ 10 | abs }} {{ -3 | abs }}",
    "{{ 123456789 * 1000 }} {{ 1000000.0 * 1000000 }} {{ 5 | string + 'x' }} {{ '%d' }} {{ 1.25 | round(1) }} {{ 2.675 | round(2) }}")
add("floats", "{{ 1e20 }} {{ 1E5 }} {{ 1e-5 }} {{ 1.5e3 }} {{ 2e+3 }} {{ -1e20 }} {{ 1e16 }} {{ 1e15 }} {{ 5e-324 }} {{ 1e400 }} {{ [1e22] }} {{ 1e20 | tojson }}",
    "{{ 7 % -0.5 }} {{ 7 % 0.3 }} {{ -7 % 0.3 }} {{ -7.5 // 0.3 }} {{ 5 // 0.1 }} {{ 5 % -0.1 }} {{ 0.0 % -3 }} {{ -0.0 // 2 }} {{ 7.5 // -2 }}",
    "{{ 9007199254740991 % -3 }} {{ 9007199254740991 // 7 }} {{ -9007199254740991 // 2 }} {{ 2 ** 52 }} {{ (-2) ** 3 }} {{ 4.0 ** 2 }} {{ 2 ** -3 }}",
    "{{ -0.0 | round }} {{ (-0.0) | round(1, 'floor') }} {{ -2.5 | round }} {{ 1e300 | round(2) }} {{ 1.005 | round(2) }} {{ 0.5 | round }}",
    "{{ '1e3' | int }} {{ '1_0' | int }} {{ '\u0663\u0661' | int }} {{ 'x' | int(default=5) }} {{ 'inf' | int }} {{ 'inf' | float }} {{ '-Infinity' | float }} {{ 'nan' | float }} {{ '1_0.5' | float }} {{ none | float(default=2) }}")
add("forms", "{{ 1_000 }}", "{{ 0x10 }}", "{{ 10 ** 20 }}", "{{ 2.5 ** 2.5 }}", "{{ '0x1f' | int(0, 16) }}", "{{ 01 }}")
add("print", "{{ messages }}", "{{ messages[0] }}", "{{ ['x', 'it\\'s', \"q\\\"\", 2, 1.5, none, true] }}", "{{ {'a': 1, 'b': [none, {}]} }}",
    "{{ (1, 'a') }} {{ [] }} {{ {} }} {{ '' }}|", "{{ ['a\\nb', 'é\\u200b', '\\\\'] }}", "{{ messages[0].keys() }} {{ messages[0].items() }}",
    "{{ messages[0].values() | list }}", "[{{ nothing }}][{{ messages[0].nothing }}]")
add("tojson", "{{ messages | tojson }}", "{{ messages[0] | tojson(indent=4) }}", "{{ messages[0] | tojson(indent=2, sort_keys=true) }}",
    "{{ messages[-1].content | tojson(ensure_ascii=true) }}", "{{ \"<a href='x'>&</a>\" | tojson }}", "{{ [1, 1.0, none, true, {}] | tojson }}",
    "{{ {'b': 1, 'a': (1, 2)} | tojson(separators=(',', ':')) }}", "{{ [] | tojson(indent=2) }}{{ [[]] | tojson(indent=1) }}",
    "{{ nothing | tojson }}", "{{ 'a/b\\t\\u001f' | tojson }}")
add("tools", "{% if tools is none %}none{% else %}some{% endif %}", "{{ bos_token }}{% if tools is not none %}[{{ tools | length }}]{% endif %}x",
    "{% if not documents %}no{% endif %}{% if documents is not none %}!{% endif %}", "{{ tools }}{{ documents }}",
    "{{ tools is defined }} {{ custom_tools is defined }} {{ tools or 'x' }}", "{{ xml_tools is undefined }}")
add("space", "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {%- if true -%}\n b \n {%- endif %}\n c", "a {{- ' b ' -}} c",
    "{# note #}\nx {#- y -#} z", "  {% if true %}x{% endif %}  \ny", "{{ 'a' }}\n{{ 'b' }}\n\n{{ 'c' }}", "x\n\n", "x\r\ny",
    "\ufeff{{ bos_token }}{{ messages[0].content }}", "\t{% for m in messages %}\n\t{{ m.role }}\n\t{% endfor %}\n")
add("loop", LOOP + "{{ loop.index }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    LOOP + "{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.role }} {% endfor %}",
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}", "{% for m in messages[1:] %}{{ m.role }}{% else %}none{% endfor %}",
    LOOP + "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}|{% endfor %}",
    LOOP + "x{% if loop.index == 2 %}y{% break %}{% endif %}z{% endfor %}", "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in messages[0] %}{{ k }}{% endfor %}{% for c in 'añ😀' %}{{ c }}.{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(2, 8, 3) | list }}",
    LOOP + "{{ loop.previtem.role if loop.previtem is defined }}>{{ loop.nextitem is defined }};{% endfor %}",
    LOOP + "{% for c in m.role %}{{ loop.depth }}{{ loop.index0 }}{% endfor %}{% endfor %}", LOOP + "{{ loop.changed(m.role) }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}", "{% for x in nothing %}a{% else %}b{% endfor %}", "{{ range(3) }}")
add("looks", "{{ bos_token }}{ x %}\n{% if true %}\na{% endif %}\n  {- b #}\n{- c -}\nd", "{{ '%}\n  {% x' }}\n{# a\n b #}\nc", "{{ {'a': {'b': 1}}['a']['b'] }}\n{{ '}}' }}\nx",
    "  {% if true %}  {% if true %}\n  a  {% endif %} {% endif %}\n\n  b", "{{ messages[0]['content' tojson] }}", "{{ messages[0]['con' 'tent'] }}", "\t {#- a -#}\n  b\n {%+ if true %}c{% endif +%}\nd",
    "{% set x = '%}' %}\n{{ x }}{% set y = \"it's %}\" %}\n{{ y }}", "{{ messages[0 if true else 1].role }}{{ messages[-1].role }}{{ messages[1 - 1].role }}{{ messages[0 if not false else 1].role }}")
add("condition", "{% if 1 if 0 %}a{% endif %}", "{% if (1 if 0 else 1) %}a{% endif %}", "{% for x in [1] if true else [2] %}{{ x }}{% endfor %}",
    "{% for x in ([1] if true else [2]) %}{{ x }}{% endfor %}", "{% for x in [1, 2] if (x if true else 0) %}{{ x }}{% endfor %}",
    "{% if 0 %}{% elif 1 if 1 else 0 %}a{% endif %}", "{% if [1 if 1 else 2][0] %}q{% endif %}", "{% for x in [1, 2] if x if true else 0 %}{{ x }}{% endfor %}")
add("scope", "{% for m in messages %}{% if loop.first %}{% set s = m.content %}{% endif %}{% endfor %}{{ s is defined }}",
    "{% set n = namespace(n=0, last='') %}" + LOOP + "{% set n.n = n.n + 1 %}{% set n.last = m.role %}{% endfor %}{{ n.n }} {{ n.last }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "{% set a, b = 1, [2] %}{{ a }}{{ b }}", "{% set t %}in {{ 1 + 1 }}{% endset %}[{{ t }}]",
    "{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}", "{% set d = {'a': 1} %}{% set _ = d.update({'b': 2}) %}{{ d }}", "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i + 5 %}{{ x }}{% endfor %}{{ x }}")
add("macro", "{% macro say(m, who='x', end='.') %}{{ who }}:{{ m.content }}{{ end }}{% endmacro %}{{ say(messages[0], end='!') }}{{ say(messages[-1], 'me') }}",
    "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}", "{% macro f(a, b) %}{{ a }}{{ b is defined }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{{ f() }}")
add("text", "{{ 'hello'.find('l') }} {{ 'hello'.count('l') }} {{ 'a,b'.partition(',')[2] }} {{ '12'.isdigit() }} {{ 'abc'.isalpha() }}",
    "{{ ' x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a b'.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}",
    "{{ 'hello world' | capitalize }} {{ 'hello wORLD' | title }} {{ 'ÀB' | lower }} {{ 'ß' | upper }} {{ 'aB'.swapcase() }}",
    "{{ 'a-b-c' | replace('-', '+') }} {{ 'a-b-c' | replace('-', '+', 1) }} {{ 'x'.replace('', '-') }} {{ 'abc'[1] }} {{ 'añb'[-2:] }}",
    "{{ 'a\\nb\\n'.splitlines() }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('c') }} {{ 'pre-x'.removeprefix('pre-') }}",
    "{{ 'a\\nb' | indent(2) }} {{ 'a\\n\\nb' | indent(2, true) }} {{ 'a\\n\\nb' | indent(2, blank=true) }}", "{{ '{} {0} {x}'.format(1, x='y') }}",
    "{{ '{}-{}'.format('a', true) }}", "{{ '😀é'|length }} {{ '😀é'[0] }} {{ 'ab' * 3 }} {{ 'a' ~ 1 ~ none ~ 1.0 }}", "{{ 'x'.upper }}", "{{ 'a' + 1 }}",
    "{{ \"tab\\there\" }} {{ 'it''s' }} {{ 'x' 'y' }}", "{{ 'A'.lower() + 'b' | upper }} {{ ('a' + 'b') | upper }} {{ ' a ' | trim }}|", "{{ 'a b  c' | wordcount }} {{ 'abc' | reverse }} {{ 'abc' | list }}")
add("lists", "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',') }}",
    "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }} {{ messages | selectattr('tool_calls') | list }}",
    "{{ messages | map(attribute='role') | list }} {{ ['a', 'B'] | map('upper') | join('-') }} {{ [1, 2, 3] | select('odd') | list }}",
    "{{ ['b', 'A', 'c'] | sort }} {{ [3, 1] | sort(reverse=true) }} {{ ['a', 'A', 'b'] | unique | list }}",
    "{% for g, items in messages | groupby('role') %}{{ g }}{{ items | length }};{% endfor %}", "{{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1} | items | list }}",
    "{{ messages | first | tojson }} {{ (messages | last).role }} {{ [] | first is defined }}", "{{ [1, 2] + [3] }} {{ [0] * 3 }} {{ 2 in [1, 2] }} {{ 'z' not in ['a'] }}",
    "{{ [1, 2, 3, 4][1:3] }} {{ [1, 2, 3][::-1] }} {{ [1, 2][5] is defined }} {{ [1, 2][-1] }}", "{{ ['a', 'b'].index('b') }} {{ [1, 1].count(1) }}",
    "{{ messages | length }} {{ nothing | length }} {{ nothing | default('d') }} {{ '' | default('d', true) }} {{ none | default('d') }}")
add("once", "{% set u = messages | selectattr('role', 'equalto', 'user') %}{% for m in u %}{{ m.role }}{% endfor %}|{% for m in u %}{{ m.role }}{% endfor %}",
    "{{ messages | map(attribute='role') | length }}", "{% if messages | selectattr('nothing') %}yes{% endif %}", "{{ messages | selectattr('nothing') | last }}",
    "{% for g in messages | groupby('role') %}{{ g.grouper }}{{ g.list | length }}{{ g[0] }}{% endfor %}", "{{ messages | map(attribute='role') | first }} {{ [1, 2] | reverse | list }}",
    "{{ [3, 1] | map('string') | join }} {{ [1, 1] | unique | join(',') }} {{ {'a': 1} | items | list }}", "{{ \"it's a (test-case) [x]\" | title }} {{ \"it's\".title() }}",
    "{{ ['a'] | map('upper') | tojson }}", "{{ [1, 2] | select('odd') is iterable }}{{ ([1] | select) is sequence }}", "{{ ([1] | list)[0] }} {{ ([1] | map('string'))[0] is defined }}")
add("dicts", "{{ 'role' in messages[0] }} {{ messages[0].get('role') }} {{ messages[0].get('zz', 'def') }} {{ messages[0]['zz'] is defined }} {{ messages[0].get('zz') }}",
    "{{ (messages[0].tool_calls or []) | length }} {{ enable_thinking is defined and enable_thinking }}", "{{ {'items': 1}.items }}", "{{ {'items': 1}['items'] }}", "{{ dict(a=1) }} {{ {'a': {'b': 2}}.a.b }} {{ {1: 'x'}[1] }}",
    "{{ messages[0].content.role }}", "{{ nothing.x }}", "{{ messages[0]['role'] ~ messages[0]['content'] | trim }}")
add("widths", "{{ 'a\\nb' | indent(1500) }}", "{{ 'a\\nb' | indent(-2) }}", "{{ {'a': [1]} | tojson(indent=120) }}")
NONE = "{% set d = {'a': none} %}"
add("none", NONE + "{{ d.a }} {{ d['a'] }} {{ d.get('a', 'x') }} {{ d.a is defined }} {{ d.a is none }} {{ d.items() | list }}",
    "{{ nothing | default(none) }} {{ none | default('x', true) }} {{ [none, 1] | first }} {{ [none] | last }} {{ [none][0] }}",
    "{% macro f(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ f(none, none) }} {{ f(b=none) }}",
    "{% for x in [none, 1, none] %}{{ loop.previtem is defined }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    NONE + "{{ [d] | map(attribute='a', default='y') | list }} {{ [d] | map(attribute='b', default=none) | list }} {{ [d] | selectattr('a', 'none') | list | length }}",
    NONE + "{{ 'a' + d.a }}", "{{ none == none }} {{ none != 1 }} {{ none in [none] }} {{ [none] | join('-') }} {{ 'x' ~ none }} {{ none or 'y' }} {{ not none }}",
    "{% set n = namespace(x=none) %}{{ n.x is none }} {{ n.x }} {{ n.y is defined }}", "{% set x = none %}{{ x is defined }} {{ x }} {% if x is not none %}a{% else %}b{% endif %}",
    "{{ 'x' | int(none) }} {{ 'a b'.split(none) }} {{ ' a '.strip(none) }}|", "{{ {none: 1} }} {{ {none: 1}[none] }} {{ {'a': none} | tojson }} {{ none < 1 }}")
add("tests", "{{ messages is iterable }}{{ messages[0] is mapping }}{{ 'a' is string }}{{ 1 is number }}{{ 3 is odd }}{{ messages is sequence }}{{ true is boolean }}",
    "{{ 1 is not defined }}{{ 1.5 is float }}{{ 2 is integer }}{{ true is integer }}{{ none is none }}{{ 'A' is upper }}{{ 4 is even }}{{ true is true }}{{ raise_exception is callable }}",
    "{{ 4 is divisibleby(2) }}", "{{ 'a' is eq('a') }}", "{{ x is defined and x is string or true }}", "{{ not 'a' in 'abc' }} {{ 1 in {1: 2} }} {{ 'a' in nothing }}")
add("errors", "{{ raise_exception('no system role') }}", "{{ 1 / 0 }}", "{{ messages | nothing }}", "{{ messages[0].role() }}", "{{ [] < 1 }}", "{{ {}[[]] }}", "{% for i in 5 %}{% endfor %}",
    "{{ range(200000) | length }}", "{{ none | length }}", "{{ 'a' - 1 }}", "{% if %}", "{{ 'x' }", "{% endfor %}", "{{ [1, 2] | join }}{{ 1 | join }}")
add("escape", "{{ '<b>' | escape }} {{ '<b>' | e }} {{ '<b>' | safe }}", "{{ ('<b>' | e) + '<i>' }}")
add("gemma", "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}{% if m['content'] is string %}{{ m['content'] | trim }}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")
add("chatml", "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are kind<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
add("generation", "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}")
add("unparsed", "{% raw %}{{ not }} {% this %}{% endraw %}", "{% with a = 1 %}{{ a }}{% endwith %}", "{% filter upper %}abc{{ messages[0].role }}{% endfilter %}", "a\n  {%+ if true %}b{% endif +%}\n c", "{{ 1, 2 }}", "{{ (1,) }}", "{{ 'x' | center(5) }}|")

names = list(CHATS)
out = []
for at, (name, template) in enumerate(T.items()):
    chats = [names[at % 3]] if name not in ("gemma", "chatml") else names
    for chat in chats:
        case = {"name": name, "template": template, "chat": chat}
        try:
            case["text"] = render_jinja_template(
                conversations=[CHATS[chat]], tools=None, documents=None, chat_template=template, add_generation_prompt=True, **SPECIAL
            )[0][0]
        except Exception as error:  # noqa: BLE001
            case["error"] = f"{type(error).__name__}: {error}"[:200]
        out.append(case)
with open(sys.argv[1], "w") as file:
    json.dump({"chats": CHATS, "special": SPECIAL, "cases": out}, file, ensure_ascii=False, indent=1)
    file.write("\n")
print(len(out), "cases,", sum("error" in case for case in out), "errors")
