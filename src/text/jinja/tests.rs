use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{Author, Data, JinjaTemplate};
use crate::error::TemplateError;

/// What of the corpus this engine refuses. Whoever makes it able to do one takes it off the list.
const REFUSED: [&str; 28] = [
    "{{ {'a':1}[:1] }}",
    "{{ none[1:] }}",
    "{{ ('<a>'|safe) + '<b>' }}",
    "{{ '<a>' + ('<b>'|safe) }}",
    "{{ ('<a>'|e)|upper }}",
    "{{ '<b>x</b> &amp; y'|striptags }}",
    "{{ 'http://a.b c'|urlize }}",
    "{{ 'a b c d'|wordwrap(3) }}",
    "{{ {'a': 1}|xmlattr }}",
    "{{ 1000|filesizeformat }}",
    "{{ {'a': 1}|pprint }}",
    "{% for g in messages|groupby('role') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}",
    "{{ [1,2]|random is number }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns.x is defined }}",
    "{% set ns = namespace(n=0) %}{% for m in [1,2,3,4] if ns.n < 2 %}{{ m }}{{ loop.index }}\
     {% set ns.n = ns.n + 1 %}{% endfor %}",
    "{% autoescape true %}{{ '<a>' }}{% endautoescape %}",
    "{{ messages[3].content.encode('utf-8') }}",
    "{{ ''.__class__ }}",
    "{{ messages|attr('__class__') }}",
    "{{ (1).bit_length() }} {{ (2.0).is_integer() }}",
    "{{ 9223372036854775807 + 1 }}",
    "{{ 2 ** 100 }}",
    "{{ 99999999999999999999 }}",
    "{{ [1,2]|map('upper') }}",
    "{{ messages[0].items() }}",
    "{{ messages[0].keys() }}",
    "{{ range }}",
    "{{ namespace(a=1) }}",
];

fn data(json: &Json) -> Data {
    match json {
        Json::Bool(value) => Data::Bool(*value),
        Json::String(text) => Data::trusted(text),
        Json::Array(items) => Data::List(items.iter().map(data).collect()),
        Json::Object(entries) => {
            let key = |key: &str| {
                ["role", "content", "type", "text"]
                    .into_iter()
                    .find(|k| *k == key)
            };
            let entries = entries
                .iter()
                .map(|(name, value)| (key(name).expect("a known key of a message"), data(value)));
            Data::Dict(entries.collect())
        }
        Json::Null | Json::Number(_) => Data::None,
    }
}

fn joined(parts: Vec<(String, Author)>) -> String {
    parts.into_iter().map(|(text, _)| text).collect()
}

/// What a template makes of messages, of which the user wrote the content.
fn parts(source: &str, content: &str) -> Result<Vec<(String, Author)>, TemplateError> {
    let content = Data::Text(vec![(content.to_string(), Author::Message(0))]);
    let message = Data::Dict(vec![
        ("role", Data::trusted("user")),
        ("content", content.clone()),
    ]);
    let variables = vec![("messages", Data::List(vec![message])), ("said", content)];
    JinjaTemplate::new(source)?.render(variables, 0)
}

fn rendered(source: &str) -> Result<String, TemplateError> {
    parts(source, "hi").map(joined)
}

#[test]
fn the_corpus_renders_as_in_python() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/templates/corpus.jsonl"
    );
    let corpus = std::fs::read_to_string(path).expect("a fixture");
    let (mut num_cases, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for line in corpus.lines() {
        let case: Json = serde_json::from_str(line).expect("a line of JSON");
        let source = case["template"].as_str().expect("a template");
        let variables = case["variables"].as_object().expect("variables");
        let variables = variables
            .iter()
            .map(|(name, value)| (name.as_str(), data(value)));
        let now = case["now"].as_i64().expect("a time");
        let found = JinjaTemplate::new(source)
            .and_then(|template| template.render(variables.collect(), now).map(joined));
        num_cases += 1;
        match (found, case["output"].as_str()) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(TemplateError::Unsupported { .. }), Some(_)) => refused.push(source.to_string()),
            (Err(_), None) => {}
            (found, expected) => wrong.push(format!("{source}: {found:?}, not {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    assert!(num_cases > 500, "{num_cases} templates");
    let mut expected = REFUSED.to_vec();
    expected.sort_unstable();
    refused.sort_unstable();
    assert_eq!(refused, expected);
}

#[test]
fn line_ends_are_those_of_python() {
    let (unix, windows) = ("a\n{% if true %}\nb\n{% endif %}\n{{ 'c\nd' }}\n", "\r\n");
    let expected = "a\nb\nc\nd";
    for source in [
        unix.to_string(),
        unix.replace('\n', windows),
        unix.replace('\n', "\r"),
    ] {
        assert_eq!(rendered(&source).expect("a sound template"), expected);
    }
}

#[test]
fn text_keeps_its_author_through_what_is_done_to_it() {
    for source in [
        "{{ said.replace('X', '') }}",
        "{{ said.replace('X', '</s>') }}",
        "{{ said.split('X') | join('</s>') }}",
        "{{ said | list | join('s>') }}",
        "{{ said | lower }}{{ said | upper }}{{ said | capitalize }}{{ said | title }}",
        "{{ said | reverse }}{{ said[::-1] }}{{ said[1:] }}{{ said[::2] }}{{ said[0] }}",
        "{{ said.strip('X') }}{{ said | trim('X') }}{{ said.removeprefix('X') }}",
        "{{ said | first }}{{ said | last }}{{ said.partition('X')[2] }}",
        "{{ said | length }}{{ said | tojson }}{{ said | e }}{{ [said] }}{{ {said: said} }}",
        "{{ '%s' % said }}{{ '{}'.format(said) }}{{ said | urlencode }}",
        "{{ dict([[said, 1]]) | list | first }}{{ {said: 1}.keys() | join('') }}",
        "{{ dict(**{said: 1}) | list | first }}",
        "{% macro f() %}{{ kwargs | list | first }}{% endmacro %}{{ f(**{said: 1}) }}",
        "{% set x %}{{ said }}{% endset %}{{ x }}{% filter upper %}{{ said }}{% endfilter %}",
        "{{ said ~ said }}{{ said + said }}{{ said * 2 }}{{ [said, said] | join }}",
        "{{ messages[0].content | replace('X', messages[0].role) }}",
        "{{ '%c%c' % (60, 62) }}{{ 'a,b'.count(',') }}{{ strftime_now('%Y') }}",
    ] {
        for (text, author) in parts(source, "a<X/s>Xb").expect(source) {
            let is_said = author.is_foreign() || text.is_empty();
            assert!(is_said, "{source}: the template wrote {text:?}");
        }
    }
}

#[test]
fn the_template_keeps_what_it_wrote() {
    for (source, own) in [
        ("<s>{{ said }}</s>", vec!["<s>", "</s>"]),
        ("{{ '<s>' + said | trim + '</s>' }}", vec!["<s>", "</s>"]),
        ("{{ '<|' ~ messages[0].role ~ '|>' }}", vec!["<|user|>"]),
        (
            "{{ ['<s>', said, '</s>'] | join('-') }}",
            vec!["<s>-", "-</s>"],
        ),
        (
            "{{ ('<image>' ~ said).replace('<image>', '<s>') }}",
            vec!["<s>"],
        ),
        ("{% for c in said %}<s>{% endfor %}", vec!["<s><s>"]),
        ("{{ '</s>' if 'h' in said else '<s>' }}", vec!["</s>"]),
        (
            "{{ '<S>' | lower }}{{ ' <s> ' | trim }}{{ 'x<s>'[1:] }}",
            vec!["<s><s><s>"],
        ),
        ("{{ '%s</s>' % said }}", vec!["</s>"]),
        ("{{ '<|%s|>' % messages[0].role }}", vec!["<|user|>"]),
        ("{{ '<|{}|>'.format(messages[0].role) }}", vec!["<|user|>"]),
    ] {
        let parts = parts(source, "hi").expect(source);
        let found = parts.iter().filter(|(_, author)| !author.is_foreign());
        let found: Vec<&str> = found.map(|(text, _)| text.as_str()).collect();
        assert_eq!(found, own, "{source}");
    }
}

#[test]
fn an_empty_text_parts_what_stands_around_it() {
    for source in [
        "</{{ said }}s>",
        "{{ '</' ~ said ~ 's>' }}",
        "{{ '</' + said[1:] + 's>' }}",
        "{{ ['</', said, 's>'] | join }}",
        "{{ '</%ss>' % said }}",
        "{{ '</{}s>'.format(said) }}",
        "{{ '</' ~ said.split() | join ~ 's>' }}",
        "{{ '</' ~ said.strip() | lower | reverse ~ 's>' }}",
        "{{ '</' ~ said.replace('x', '') ~ 's>' }}",
        "{{ '</' ~ (said | e) ~ 's>' }}",
        "{{ '</' ~ said[::2] ~ 's>' }}",
        "{{ ('</' ~ said ~ 's>')[::-1][::-1] }}",
        "{{ ('</' ~ said ~ 's>') | string | trim }}",
        "{{ '</' ~ said.partition('x')[1] ~ 's>' }}",
    ] {
        let parts = parts(source, "").expect(source);
        let own = parts.iter().filter(|(_, author)| !author.is_foreign());
        let own: Vec<&str> = own.map(|(text, _)| text.as_str()).collect();
        assert_eq!(own.concat(), "</s>", "{source}");
        assert!(!own.contains(&"</s>"), "{source}");
    }
}

#[test]
fn a_template_may_refuse_the_messages() {
    let source =
        "{% for m in messages %}{{ raise_exception('roles\x1b must alternate') }}{% endfor %}";
    let error = rendered(source).expect_err("it refuses");
    assert!(matches!(error, TemplateError::Refused { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("must alternate") && !said.contains('\x1b'),
        "{said}"
    );
}

#[test]
fn an_error_says_where() {
    for (source, place) in [("a\n{{ b.c }}", "line 2"), ("\n\n{% if %}", "line 3")] {
        let error = rendered(source).expect_err(source).to_string();
        assert!(error.contains(place), "{error}");
    }
}

/// Templates that would take time, memory or stack without end.
fn hostile() -> Vec<String> {
    let nested = "{% set n = namespace(x=(1,), y=(1,)) %}{% for i in range(90) %}\
        {% set n.x = (n.x, n.x) %}{% set n.y = (n.y, n.y) %}{% endfor %}";
    let shared = [
        "{{ n.x }}",
        "{{ n.x == n.y }}",
        "{{ n.x < n.y }}",
        "{{ n.x | tojson }}",
        "{{ n.x ~ '' }}",
        "{{ {n.x: 1} }}",
        "{{ n.x in [n.y] }}",
        "{{ [n.x, n.y] | unique | list }}",
        "{{ [n.x, n.y] | sort }}",
        "{{ '%s' % (n.x,) }}",
        "{{ n.x | string | length }}",
    ];
    let mut templates: Vec<String> = shared.map(|rest| format!("{nested}{rest}")).to_vec();
    templates.extend(HOSTILE.map(str::to_string));
    for link in [
        "+1",
        "**1",
        " and 1",
        " or 1",
        " if 1",
        " if 1 else 1",
        ".b",
        "[0]",
        "()",
        "|int",
        " is odd",
    ] {
        templates.push(format!("{{{{ 1{} }}}}", link.repeat(20_000)));
    }
    for sign in [
        "-",
        "+",
        "not ",
        "(",
        "[",
        "{1:",
        "f(",
        "a[",
        "1 if 1 else ",
    ] {
        templates.push(format!("{{{{ {}1 }}}}", sign.repeat(20_000)));
        templates.push(format!(
            "{{% for a in [1] if {}1 %}}{{% endfor %}}",
            sign.repeat(20_000)
        ));
    }
    for block in [
        "{% if 1 %}",
        "{% for a in b %}",
        "{% set a %}",
        "{% filter upper %}",
        "{% raw %}",
    ] {
        templates.push(block.repeat(10_000));
    }
    templates
}

const HOSTILE: [&str; 42] = [
    "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
    "{% set n = namespace() %}{% set n.x = [{'a': n}] %}{{ n == n }}",
    "{% for i in [1] %}{{ loop.changed(loop) }}{% endfor %}",
    "{% set n = namespace(x=1) %}{% for i in range(300) %}{% set n.x = [n.x] %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{{ ('x' * 1000000).join(range(100000) | map('string')) }}",
    "{{ range(100000) | join('x' * 1000000) }}",
    "{{ ('a' * 4000000).strip('b' * 1000000 ~ 'a') | length }}",
    "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ 'x' * 9223372036854775807 }}",
    "{{ [1] * 9223372036854775807 }}",
    "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
    "{{ ('x' * 1000000).replace('', 'y' * 100) }}",
    "{% for i in range(10000) %}{{ ('x' * 100000).strip('y').split('x') | length }}{% endfor %}",
    "{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{{ s[i] }}{% endfor %}",
    "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s is lower }}{% endfor %}",
    "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s.find('b') }}{% endfor %}",
    "{{ '{:100000000000000}'.format('x') }}",
    "{{ '%100000000000s' % 'x' }}",
    "{{ '%.100000000f' % 1 }}",
    "{{ 'x' | center(10000000000) }}{{ 'x'.ljust(10000000000) }}",
    "{{ 'x'.zfill(10000000000) }}",
    "{{ ('a\n' * 1000000) | indent('x' * 100000) }}",
    "{{ 'a\nb' | indent(10000000000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ [1] | slice(1000000000, 'x') | list }}",
    "{{ [1] | tojson(indent=1000000000) }}",
    "{{ range(1000000000) | list }}",
    "{{ 2 ** 100000000000 }}",
    "{{ (-9223372036854775807 - 1) // -1 }}",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro a() %}{{ caller() }}{% endmacro %}\
     {% macro b() %}{% call a() %}{{ b() }}{% endcall %}{% endmacro %}{{ b() }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ strftime_now('%c' * 1000000) }}",
    "{% filter upper %}{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}{% endfilter %}",
    "{{ dict(range(100000) | batch(2)) }}",
    "{{ raise_exception('x' * 4000000) }}",
    "{% include 'other' %}",
    "{{ nothing.at.all }}",
];

#[test]
fn no_template_runs_for_long_or_grows_large() {
    for source in hostile() {
        let start = Instant::now();
        let error = rendered(&source).expect_err(&source[..source.len().min(200)]);
        let (took, said) = (start.elapsed(), error.to_string());
        let source = &source[..source.len().min(200)];
        assert!(took < Duration::from_secs(10), "took {took:?}: {source}");
        assert!(
            !said.is_empty() && said.len() < 4096,
            "says {} bytes: {source}",
            said.len()
        );
    }
}

#[test]
fn a_template_beyond_the_limit_is_refused_unread() {
    let source = "a".repeat(super::MAX_SOURCE_BYTES + 1);
    assert!(matches!(
        rendered(&source),
        Err(TemplateError::TooLarge { .. })
    ));
}

#[test]
fn the_stack_of_the_caller_does_not_matter() {
    let deep = format!("{{{{ {}1{} }}}}", "[".repeat(90), "]".repeat(90));
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let thread = small.spawn(move || rendered(&deep).map(|text| text.len()));
    let found = thread.expect("a thread").join().expect("no overflow");
    assert_eq!(found.expect("a sound template"), 181);
}
