//! Warming up: what it tells, that it can be ended, and that nothing of it is left but kernels.

use std::ops::ControlFlow;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    AnyPipeline, AskRequest, DeviceName, LoadOptions, WarmUp, WarmUpProgress, WarmUpStage,
};

#[cfg(feature = "wgpu")]
use crate::fixture::INSTRUCTBLIP;
use crate::fixture::{LLAVA, open, seeing_models};
use crate::support::{model_folder, picture};

laws![
    warming_up_leaves_no_trace_in_answers,
    a_pipeline_is_warm_when_all_steps_were_told_or_there_are_none,
    warming_up_ends_where_it_is_told_to,
];

/// Whether the backend has anything to compile.
fn compiles<B: VlmBackend>() -> bool {
    B::vlm_compiles_kernels()
}

fn warming_up_leaves_no_trace_in_answers<B: VlmBackend>() -> Result<()> {
    for name in seeing_models()? {
        let (cold, warm) = (open::<B>(&name)?, open::<B>(&name)?);
        warm.warm_up(|_| ControlFlow::Continue(()))?;
        let mut answers = Vec::new();
        for pipeline in [&cold, &warm] {
            let photo = pipeline.encode(&picture(3))?;
            let request = AskRequest::new().image(photo).user("What is this?");
            let mut session = pipeline.session();
            assert_eq!(session.cached_tokens(), 0);
            let answer = session.turn(&request.max_new_tokens(6).seed(7))?;
            answers.push((answer.token_ids, answer.usage, session.cached_tokens()));
        }
        assert_eq!(answers[0], answers[1], "{name}");
    }
    Ok(())
}

fn a_pipeline_is_warm_when_all_steps_were_told_or_there_are_none<B: VlmBackend>() -> Result<()> {
    let mut told = Vec::new();
    let warmed_up = open::<B>(LLAVA)?.warm_up(|progress| {
        told.push(progress);
        ControlFlow::Continue(())
    })?;
    if !compiles::<B>() {
        assert!(matches!(warmed_up, WarmUp::NothingToCompile));
        assert!(told.is_empty());
        return Ok(());
    }
    let WarmUp::Ready { kernels, .. } = warmed_up else {
        panic!("nobody interrupted it");
    };
    assert!(kernels.calls().count() > 5, "{kernels:?}");
    let stages = [
        WarmUpStage::Encode,
        WarmUpStage::Prefill,
        WarmUpStage::Decode,
        WarmUpStage::Ask,
    ];
    let mut in_order: Vec<_> = told.iter().map(|progress| progress.stage).collect();
    in_order.dedup();
    assert_eq!(in_order, stages);
    for (index, progress) in told.iter().enumerate() {
        assert_eq!(
            (progress.done_steps, progress.total_steps),
            (index, told.len())
        );
    }
    assert!(told.is_sorted_by_key(|progress| progress.num_operations));
    Ok(())
}

fn warming_up_ends_where_it_is_told_to<B: VlmBackend>() -> Result<()> {
    let mut calls = 0;
    let warmed_up = open::<B>(LLAVA)?.warm_up(|WarmUpProgress { done_steps, .. }| {
        calls += 1;
        match done_steps {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    match compiles::<B>() {
        true => assert!(matches!(warmed_up, WarmUp::Interrupted { .. }) && calls == 3),
        false => assert_eq!(calls, 0),
    }
    Ok(())
}

#[cfg(feature = "flex")]
#[test]
fn a_pipeline_of_any_backend_says_that_a_cpu_compiles_nothing() -> Result<()> {
    let pipeline = AnyPipeline::open(model_folder(LLAVA), DeviceName::Cpu, &LoadOptions::new())?;
    let warmed_up = pipeline.warm_up(|progress| panic!("{progress:?}"))?;
    assert_eq!(warmed_up, WarmUp::NothingToCompile);
    assert_eq!(warmed_up.to_string(), "nothing to compile");
    Ok(())
}

/// What CubeCL's log tells: it is set up by a file in the working directory when a process first
/// uses a device, so a process of its own is asked.
#[cfg(feature = "wgpu")]
mod wgpu_log {
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use burn::tensor::{Int, Tensor};
    use burn_vlm::backend::Wgpu;

    use super::*;

    /// Tells the process that is asked where the log is.
    const LOG: &str = "BURN_VLM_COMPILATION_LOG";

    const NAME: &str = "warm_up::wgpu_log::after_warming_up_a_first_question_compiles_nothing";

    #[test]
    fn after_warming_up_a_first_question_compiles_nothing() -> Result<()> {
        if let Some(log) = std::env::var_os(LOG) {
            return compiles_nothing_more(Path::new(&log));
        }
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let settings = format!("[compilation.logger]\nlevel = \"full\"\nfile = {log:?}\n");
        std::fs::write(folder.path().join("cubecl.toml"), settings)?;
        let asked = Command::new(std::env::current_exe()?)
            .args(["--exact", NAME, "--nocapture"])
            .current_dir(folder.path())
            .env(LOG, &log)
            .output()?;
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(asked.status.success(), "{said}");
        let counts = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert!(
            counts.contains("1 passed"),
            "the test has another name: {counts}"
        );
        Ok(())
    }

    fn compiles_nothing_more(log: &Path) -> Result<()> {
        for (name, [first, last]) in [
            (LLAVA, ["BitwiseXorOp", "BitwiseAndOp"]),
            // The projector reads the question.
            (INSTRUCTBLIP, ["BitwiseOrOp", "RemainderOp"]),
        ] {
            let pipeline = open::<Wgpu>(name)?;
            pipeline.warm_up(|_| ControlFlow::Continue(()))?;
            mark(first);
            let before = compiled(log, first);
            assert!(before.len() > 10, "{before:#?}");
            let photo = pipeline.encode(&picture(3))?;
            let question = AskRequest::new()
                .image(photo)
                .user("What is this, and where?");
            pipeline.answer(&question.max_new_tokens(8))?;
            mark(last);
            let after = compiled(log, last);
            let new = &after[before.len()..];
            assert!(new.is_empty(), "{name}: {new:#?}");
        }
        Ok(())
    }

    /// Runs an operation that no model takes.
    fn mark(operation: &str) {
        let device = Default::default();
        let ones = || Tensor::<Wgpu, 1, Int>::ones([3], &device);
        let marked = match operation {
            "BitwiseXorOp" => ones().bitwise_xor(ones()),
            "BitwiseAndOp" => ones().bitwise_and(ones()),
            "BitwiseOrOp" => ones().bitwise_or(ones()),
            "RemainderOp" => ones().remainder(ones()),
            other => panic!("{other} marks nothing"),
        };
        drop(marked.into_data());
    }

    /// What was compiled before `last`, an operation that no model takes. The log is written behind
    /// one's back, and in order.
    fn compiled(log: &Path, last: &str) -> Vec<String> {
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let entries = text.split("[START_KERNEL_COMPILATION]").skip(1);
            let names: Vec<_> = entries
                .map(|entry| entry.lines().take(3).collect())
                .collect();
            let ends = |name: &String| name.contains("Bitwise") || name.contains("Remainder");
            if text.contains(last) {
                return names.into_iter().filter(|name| !ends(name)).collect();
            }
            let is_in_time = started.elapsed() < Duration::from_secs(60);
            assert!(is_in_time, "the log does not say that {last} was compiled");
            std::thread::yield_now();
        }
    }
}
