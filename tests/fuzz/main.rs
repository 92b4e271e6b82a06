//! Damaged and hostile input, made at random: nothing panics, hangs, fills memory or breaks a law.
//!
//! Each input is made of a seed and a number, so that one comes back alone. A short run with a fixed
//! seed is part of the tests. A long one has a time and a seed of its own:
//!
//! ```sh
//! BURN_VLM_FUZZ_SECONDS=3600 BURN_VLM_FUZZ_SEED=7 cargo test --release --test fuzz -- --nocapture
//! ```
//!
//! What it finds it prints with what makes it again, and goes on:
//!
//! ```sh
//! BURN_VLM_FUZZ_SUBJECT=pictures BURN_VLM_FUZZ_SEED=7 BURN_VLM_FUZZ_NUMBER=1234 cargo test --test fuzz
//! ```
//!
//! An input that ends the whole process leaves its name in `fuzz.txt` in the folder that Cargo gives
//! tests to write in (`target/tmp`).

#![cfg(feature = "flex")]

mod bombs;
mod folders;
mod large_pictures;
mod memory;
mod pictures;
mod random;
mod settings;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is needed here")]
mod support;
mod user_text;
mod watch;

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use folders::{Damage, Files};
use random::Random;

/// What is tried with an input of its own, how often in the short run, and how.
type Subject = (
    &'static str,
    u64,
    Box<dyn Fn(&mut Random) -> Option<String>>,
);

fn subjects() -> Vec<Subject> {
    let pictures = pictures::seeds();
    let files = |damage| {
        move |model, endings| {
            let files = Files {
                model,
                endings,
                damage,
            };
            Box::new(move |random: &mut Random| files.attempt(random))
        }
    };
    let bytes = files(Damage::Bytes);
    let settings = files(Damage::Settings);
    vec![
        (
            "pictures",
            1200,
            Box::new(move |random| pictures::attempt(random, &pictures)),
        ),
        ("weights", 30, bytes("dynamic_rope", &[".safetensors"])),
        ("pytorch", 30, bytes("vicuna_bin", &[".bin"])),
        ("gguf", 30, bytes("gguf_blocks", &[".gguf"])),
        ("gguf pairs", 20, bytes("gguf_llava", &[".gguf"])),
        ("ggjt", 20, bytes("ggjt_q4", &[".bin"])),
        ("minigpt4", 20, bytes("minigpt4", &[".yaml", ".pth"])),
        ("configurations", 20, bytes("llava", &["config.json"])),
        ("llava's settings", 40, settings("llava", &[".json"])),
        ("idefics3's settings", 40, settings("idefics3", &[".json"])),
        (
            "instructblip's settings",
            30,
            settings("instructblip", &[".json"]),
        ),
        ("blip2's settings", 20, settings("blip2", &[".json"])),
        ("gpt_neox's settings", 30, settings("gpt_neox", &[".json"])),
        (
            "tokenizers",
            30,
            bytes("dynamic_rope", &["tokenizer.json", "tokenizer.model"]),
        ),
        ("user text", 20, Box::new(user_text::attempt)),
    ]
}

#[test]
fn no_input_panics_hangs_fills_memory_or_breaks_a_law() {
    let _alone = memory::alone();
    watch::watch_panics();
    assert_the_watch_sees();
    let subjects = subjects();
    let plan = Plan::from_environment(subjects.len());
    let current = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz.txt");
    let mut findings = Vec::new();
    for (name, short_run, attempt) in subjects {
        if plan.subject.as_ref().is_some_and(|subject| subject != name) {
            continue;
        }
        let start = Instant::now();
        for number in plan.numbers(short_run) {
            if start.elapsed() > plan.time_of_a_subject {
                break;
            }
            let seed = plan.seed;
            let again = format!(
                "BURN_VLM_FUZZ_SUBJECT='{name}' BURN_VLM_FUZZ_SEED={seed} BURN_VLM_FUZZ_NUMBER={number}"
            );
            fs::write(&current, &again).expect("the folder of the tests takes a file");
            if let Some(finding) =
                attempt(&mut Random::new(seed ^ number.wrapping_mul(1 << 20 | 1)))
            {
                println!("{again}: {finding}");
                findings.push(format!("{again}: {finding}"));
            }
        }
        println!("{name}: {:?}", start.elapsed());
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// A watch that sees nothing would find nothing.
fn assert_the_watch_sees() {
    use watch::CaughtPanics::{AreAllowed, AreFindings};
    let caught = || {
        let caught = std::panic::catch_unwind(|| panic!("in a decoder"));
        Ok(caught.err().map(|_| "it panicked".to_string()))
    };
    let sees = |what: &str, finding: Option<String>| {
        assert!(
            finding
                .as_ref()
                .is_some_and(|finding| finding.contains(what)),
            "{finding:?}"
        );
    };
    sees(
        "a panic",
        watch::finding(AreAllowed, || panic!("for all to see")),
    );
    sees("a caught panic", watch::finding(AreFindings, caught));
    assert_eq!(watch::finding(AreAllowed, caught), None);
    sees(
        "control",
        watch::finding(AreFindings, || Ok(Some("\x1b[2J".to_string()))),
    );
    sees(
        "a message of",
        watch::finding(AreFindings, || Ok(Some("x".repeat(5000)))),
    );
    let fills_memory = || Ok((vec![0_u8; 600 << 20].len() == 1).then(String::new));
    sees("bytes at once", watch::finding(AreFindings, fills_memory));
    assert_eq!(watch::finding(AreFindings, || Ok(None)), None);
}

/// What of all inputs is tried.
struct Plan {
    seed: u64,
    subject: Option<String>,
    /// One input instead of all.
    number: Option<u64>,
    time_of_a_subject: Duration,
    is_long: bool,
}

impl Plan {
    fn from_environment(num_subjects: usize) -> Self {
        let number = |name: &str| {
            let value = env::var(name).ok()?;
            Some(
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{name} is a number")),
            )
        };
        let seconds = number("BURN_VLM_FUZZ_SECONDS");
        Self {
            seed: number("BURN_VLM_FUZZ_SEED").unwrap_or(1),
            subject: env::var("BURN_VLM_FUZZ_SUBJECT").ok(),
            number: number("BURN_VLM_FUZZ_NUMBER"),
            time_of_a_subject: seconds.map_or(Duration::from_secs(4), |seconds: u64| {
                Duration::from_secs(seconds) / num_subjects as u32
            }),
            is_long: seconds.is_some(),
        }
    }

    fn numbers(&self, short_run: u64) -> std::ops::Range<u64> {
        match self.number {
            Some(number) => number..number + 1,
            None if self.is_long => 0..u64::MAX,
            None => 0..short_run,
        }
    }
}
