use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use minijinja::value::Value;

use super::JinjaTemplate;
use crate::error::TemplateError;

fn render(source: &str) -> Result<String, TemplateError> {
    let context = BTreeMap::from([
        ("text", Value::from(" a b a ")),
        ("words", Value::from(vec!["x", "y"])),
        (super::NOW, Value::from(0)),
    ]);
    JinjaTemplate::new(source)?.render(&Value::from(context))
}

fn rendered(source: &str) -> String {
    render(source).expect("a sound template")
}

#[test]
fn python_methods_work_on_strings() {
    for (source, expected) in [
        (
            "{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}",
            "a b a|a b a | a b a",
        ),
        ("{{ 'xxaxx'.strip('x') }}", "a"),
        ("{{ text.split() | join(',') }}", "a,b,a"),
        (
            "{{ 'a-b-c'.split('-', 1) | join(',') }} {{ 'a-b-c'.rsplit('-', 1)[0] }}",
            "a,b-c a-b",
        ),
        (
            "{{ 'ab'.startswith('a') }} {{ 'ab'.endswith(['x', 'b']) }}",
            "True True",
        ),
        (
            "{{ 'aBC dE'.capitalize() }}|{{ 'aBC dE'.title() }}",
            "Abc de|Abc De",
        ),
        ("{{ 'aB'.upper() }}{{ 'aB'.lower() }}", "ABab"),
        (
            "{{ text.replace('a', 'c') }}|{{ text.replace('a', 'c', 1) }}",
            " c b c | c b a ",
        ),
        (
            "{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}",
            "bcab",
        ),
        (
            "{{ 'éab'.find('b') }} {{ 'ab'.find('x') }} {{ 'aab'.count('a') }}",
            "2 -1 2",
        ),
        (
            "{{ '-'.join(words) }} {{ '12'.isdigit() }} {{ ' '.isspace() }}",
            "x-y True True",
        ),
        ("{{ 'a\nb'.splitlines() | length }}", "2"),
        ("{{ ' a  b c '.split(none, 1) | join('|') }}", "a|b c "),
        (
            "{{ 'a b'.split(' ', -1)[-1] }}{{ 'a'.split('-')[-1] }}",
            "ba",
        ),
        (
            "{{ 'a,b,'.split(',') | length }}{{ ' '.split() | length }}",
            "30",
        ),
        ("{{ \"they're 1st\".title() }}", "They'Re 1St"),
        (
            "{{ 'ab'.startswith(('x', 'a')) }} {{ 'ab'.endswith(()) }}",
            "True False",
        ),
        (
            "{{ 'abcab'.rfind('ab') }}{{ 'Ab'.isalpha() }}{{ ''.isalnum() }}",
            "3TrueFalse",
        ),
        (
            "{{ 'a-b-c'.rsplit('-', 1)[1] }}{{ 'a-b'.rsplit('-')[0] }}",
            "ca",
        ),
        (
            "{{ 'aaa'.replace('a', 'b', 2) }}{{ 'ab'.replace('', '-') }}",
            "bba-a-b-",
        ),
        (
            "{{ '<a>b</a>'.lstrip('<a>') }}|{{ '\n\nx'.lstrip('\n') }}",
            "b</a>|x",
        ),
    ] {
        assert_eq!(rendered(source), expected, "{source}");
    }
}

#[test]
fn python_methods_work_on_maps() {
    let source = "{% set map = {'a': 1, 'b': none} %}{{ map.get('a') }} {{ map.get('z') }} \
        {{ map.get('z', 7) }} {{ map.keys() | join }} {{ map.values() | list | length }} \
        {% for key, value in map.items() %}{{ key }}{% endfor %}";
    assert_eq!(rendered(source), "1 None 7 ab 2 ab");
    assert!(render("{{ words.get('a') }}").is_err());
}

#[test]
fn maps_keep_the_order_they_were_written_in() {
    for (source, expected) in [
        ("{{ map.keys() | join }}{{ map.values() | join }}", "ba12"),
        (
            "{% for key, value in map.items() %}{{ key }}{{ loop.index }}/{{ loop.length }} {% endfor %}",
            "b1/2 a2/2 ",
        ),
        (
            "{{ map.items() | length }} {{ 'a' in map.keys() }}",
            "2 True",
        ),
        ("{{ map | tojson }}", r#"{"b": 1, "a": 2}"#),
        ("{{ map | tojson(sort_keys=true) }}", r#"{"a": 2, "b": 1}"#),
        ("{{ map | dictsort | first | first }}", "a"),
    ] {
        let source = format!("{{% set map = {{'b': 1, 'a': 2}} %}}{source}");
        assert_eq!(rendered(&source), expected, "{source}");
    }
}

#[test]
fn values_print_as_in_python() {
    assert_eq!(
        rendered("{{ true }} {{ none }} {{ nothing }} {{ 1 }}"),
        "True None  1"
    );
    assert_eq!(
        rendered("{{ {'a': [1, '<é>', none]} | tojson }}"),
        r#"{"a": [1, "<é>", null]}"#
    );
    assert_eq!(rendered("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
    assert_eq!(rendered("{{ 'é' | tojson(ensure_ascii=false) }}"), "\"é\"");
    assert!(render("{{ 'é' | tojson(ensure_ascii=true) }}").is_err());
}

#[test]
fn blocks_leave_no_lines_behind() {
    assert_eq!(
        rendered("a\n  {% if true %}\nb\n  {% endif %}\nc\n"),
        "a\nb\nc"
    );
}

#[test]
fn generation_tags_print_what_they_enclose() {
    let source = "{% for w in words %}{%- generation -%} {{ w }} {%- endgeneration %}{% endfor %}";
    assert_eq!(rendered(source), "xy");
    assert_eq!(
        rendered("generation {{ 'generation' }} {% generation %}a{% endgeneration %}"),
        "generation generation a"
    );
    assert!(matches!(
        render("{% generation"),
        Err(TemplateError::Syntax { .. })
    ));
}

#[test]
fn a_template_may_refuse_the_messages() {
    let error =
        render("{% for w in words %}{{ raise_exception('roles must alternate') }}{% endfor %}");
    let Err(TemplateError::Refused { message }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(message, "roles must alternate");
}

#[test]
fn the_date_is_that_of_the_render() {
    assert_eq!(
        rendered("{{ strftime_now('%d %B %Y') }}"),
        "01 January 1970"
    );
    assert_eq!(
        rendered("{{ strftime_now('%-d %b %Y, %A %H:%M %I %p 100%%') }}"),
        "1 Jan 1970, Thursday 00:00 12 AM 100%"
    );
    assert!(matches!(
        render("{{ strftime_now('%Q') }}"),
        Err(TemplateError::Render { .. })
    ));
    assert!(render("{{ strftime_now('%') }}").is_err());
}

#[test]
fn no_template_runs_for_long_or_grows_large() {
    let start = Instant::now();
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='x' * 1000) %}{% for i in range(100) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
        "{{ ('x' * 1000000).replace('', 'y' * 100) }}",
        "{% for i in range(10000) %}{{ ('x' * 100000).strip('y').split('x') | length }}{% endfor %}",
        "{% set y = 'y' * 1000000 %}{{ ('x' * 1000000).strip(y) }}",
        "{{ '{:100000000000000}'.format('x') }}",
        "{{ ('x' * 100000).join(range(100000)) }}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ 'y' * 5000000 }}",
        "{{ [1] | tojson(indent=1000000000) }}{{ 'x' * 1000000000 }}",
        "{% include 'other' %}",
        "{% import 'other' as other %}",
        "{{ text.nothing() }}",
        "{{ nothing.at.all }}",
    ] {
        let error = render(source).expect_err(source);
        assert!(!error.to_string().is_empty());
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "took {:?}",
        start.elapsed()
    );
}

#[test]
fn a_template_beyond_the_limit_is_refused_unread() {
    let source = "a".repeat(super::MAX_SOURCE_BYTES + 1);
    assert!(matches!(
        render(&source),
        Err(TemplateError::TooLarge { .. })
    ));
    let nested = format!(
        "{}{}",
        "{% if true %}".repeat(5000),
        "{% endif %}".repeat(5000)
    );
    assert!(matches!(render(&nested), Err(TemplateError::Syntax { .. })));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(matches!(render(&deep), Err(TemplateError::Syntax { .. })));
}
