use std::time::{Duration, Instant};

use super::{Effort, Matcher};

/// The patterns of tokenizers that models on the Hub have.
const KNOWN: &[&str] = &[
    // GPT-2
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    // Llama 3, Granite 4, Phi 4
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Qwen 2
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // GPT-4o, Llama 4
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // DeepSeek
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯ]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    r"[一-龥ࠀ-一가-퟿]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
    // Kimi
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}|\s+(?!\S)|\s+",
    // BLOOM
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    // CLIP
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    // XLM-R, T5
    r" {2,}",
    r"\s+",
    r"[0-9][0-9][0-9]",
];

fn found(matcher: &Matcher, text: &str) -> Vec<String> {
    let effort = Effort::for_bytes(text.len());
    let found = matcher.find(text, &effort).expect("time enough");
    let matches = found.parts.iter().filter(|(_, is_match)| *is_match);
    matches
        .map(|&((start, end), _)| text[start..end].to_string())
        .collect()
}

#[test]
fn the_patterns_of_known_tokenizers_are_taken() {
    for pattern in KNOWN.iter().chain(super::POSSESSIVE) {
        Matcher::pattern(pattern).expect(pattern);
    }
    let gpt2 = Matcher::pattern(KNOWN[0]).expect("a known pattern");
    assert_eq!(found(&gpt2, "it's  a b"), ["it", "'s", " ", " a", " b"]);
}

#[test]
fn what_has_to_backtrack_is_refused() {
    for pattern in [
        r"(a+)+(?!b)",
        r"(?=a)b",
        r"(?<=a)b",
        r"(?<!a)b",
        r"(a)\1",
        r"(?>a+)b",
        r"(?:a|aa)++b",
        r"a*+b",
        r"(?:(?:a|aa)+\s+(?!\S))*",
        r"(\s+(?!\S)|a)+b",
        r"a+\s+(?!\S)",
        r"(",
        r"[",
        r"*",
    ] {
        assert!(Matcher::pattern(pattern).is_err(), "{pattern}");
    }
    assert!(Matcher::pattern(&"a".repeat(1 << 15)).is_err());
    for endless in [
        r"(?:(?:\p{L}{100}){100}){100}",
        "((((a{10}){10}){10}){10}){10}",
    ] {
        assert!(Matcher::pattern(endless).is_err(), "{endless}");
    }
    assert!(Matcher::text("").is_err());
    assert!(Matcher::text(&"a".repeat(1000)).is_err());
}

#[test]
fn a_class_or_an_escape_hides_what_looks_like_a_bracket() {
    for pattern in [
        r"[(|]+\s+(?!\S)",
        r"\(|\s+(?!\S)x",
        r"[\]|]\s+(?!\S)",
        r"([])]|\s+(?!\S)|a)+",
        r"([^])]|\s+(?!\S)|a)+",
        "(?x)(#)\n|\\s+(?!\\S)|a)+",
    ] {
        assert!(Matcher::pattern(pattern).is_err(), "{pattern}");
    }
    for pattern in [r"[(]|\s+(?!\S)", r"\)|\s+(?!\S)|[+]+", r"[\]]|\s+(?!\S)"] {
        Matcher::pattern(pattern).expect(pattern);
    }
}

#[test]
fn a_pattern_that_looks_at_the_rest_for_each_match_meets_the_deadline() {
    // Each match is one character, and is found after looking at all that follow.
    let matcher = Matcher::pattern(r".*[^A-Z]|[A-Z]").expect("it does not backtrack");
    let text = "A".repeat(1 << 19);
    let start = Instant::now();
    let error = matcher
        .find(&text, &Effort::for_bytes(0))
        .expect_err("hours");
    assert!(error.contains("too long"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn texts_are_found_as_the_library_finds_them() {
    let matcher = Matcher::text("aa").expect("a text");
    assert_eq!(found(&matcher, "aaaab"), ["aa", "aa"]);
    let nothing = matcher.find("", &Effort::for_bytes(0)).expect("a text");
    assert_eq!(nothing.parts, [((0, 0), false)]);
}
