//! Bad input of every kind gives the right error, in time: no panic, no hang, no other error.
//!
//! A [`Case`] is one line of the matrix. Each runs in a temporary folder of its own on a thread of
//! its own, and must end with the variant it names and a message that says what it is about.
//!
//! The kinds of hostile files, and where each is shown to be bounded:
//!
//! | Kind | Shown by |
//! |---|---|
//! | templates: depth of source and of values, values that hold themselves | `template`, `text::jinja::tests` |
//! | templates: work and memory that multiply (lists, `join`, sets of signs, output) | `template` |
//! | templates: what would make an engine panic (a cycle through nothing) | `template` |
//! | text of a user that becomes a control token or a picture | `text::prompt::tests`, `text::chat_template::tests`, the fuzzer's `user text` |
//! | tokenizers: growth by a factor a stage, stages and affixes without number | `tokenizer` |
//! | tokenizers: patterns that backtrack, or look at the rest for each match | `tokenizer`, `text::engine::matcher::tests` |
//! | tokenizers: long tokens, searches and models beyond linear time | `tokenizer`, `text::tokenizer::tests` |
//! | tokenizers: tables whose offsets lead nowhere | `tokenizer`, `text::engine::charsmap::tests` |
//! | JSON that becomes many times its bytes | `config`, `tokenizer` |
//! | pictures | the table of `picture` |
//! | sizes in a configuration that multiply, tensors beyond memory | `config`, `weights` |
//! | weights: counts without bytes, nests, names that are repeated | `weights`, `gguf`, the fuzzer's `bombs` |
//! | untrusted text in messages, panics that a hook would print | `untrusted`, the fuzzer's watch |
//! | links and names that lead out of a folder | `folder`, `weights`, `files::tests` |

use burn_vlm::backend;

/// One line of the matrix: a name, what the message must say, what is done, and the error.
macro_rules! case {
    ($name:literal, $says:expr, $run:expr, $error:pat $(if $guard:expr)?) => {
        $crate::case::Case {
            name: $name,
            says: $says,
            run: $run,
            is_expected: |error| matches!(error, $error $(if $guard)?),
            expected: stringify!($error),
        }
    };
}

mod case;
mod config;
mod device;
mod folder;
mod gguf;
mod picture;
mod processor;
mod project;
mod request;
mod sampling;
#[path = "../support/mod.rs"]
mod support;
mod template;
mod tokenizer;
mod untrusted;
mod weights;

use burn_vlm::kernels::VlmBackend;
use case::Case;

/// The whole matrix.
fn cases<B: VlmBackend>() -> Vec<Case> {
    let subjects = [
        folder::cases::<B>(),
        gguf::cases::<B>(),
        config::cases::<B>(),
        processor::cases::<B>(),
        project::cases::<B>(),
        weights::cases::<B>(),
        tokenizer::cases::<B>(),
        template::cases::<B>(),
        request::cases::<B>(),
        sampling::cases::<B>(),
        picture::cases::<B>(),
        device::cases::<B>(),
        untrusted::cases::<B>(),
    ];
    subjects.into_iter().flatten().collect()
}

fn every_case_gives_its_error<B: VlmBackend>() {
    let cases = cases::<B>();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases share a name");
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let failures: Vec<String> = cases.iter().filter_map(Case::failure).collect();
    println!(
        "{} bad inputs, {} with another outcome than theirs",
        cases.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[cfg(feature = "flex")]
#[test]
fn every_bad_input_gives_its_error_on_the_cpu() {
    every_case_gives_its_error::<backend::Cpu>();
}

#[cfg(feature = "wgpu")]
#[test]
fn every_bad_input_gives_its_error_on_wgpu() {
    every_case_gives_its_error::<backend::Wgpu>();
}
