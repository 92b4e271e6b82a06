//! Compiling what a pipeline will use before somebody waits for it.

use std::fmt;
use std::ops::{ControlFlow, RangeInclusive};
use std::time::{Duration, Instant};

use super::load_options::KernelPolicy;
use super::multimodal::MultimodalPipeline;
use super::request::AskRequest;
use crate::error::{DeviceError, Error, Result};
use crate::generation::{BeamOptions, DecoderInput, SampleOptions, Sampling, Sequence};
use crate::image::{ImageInput, ImageSize};
use crate::kernels::{self, KernelReport, KernelTrace, VlmBackend};
use crate::models::ProjectorConfig;

/// Prompts that are read to warm up: kernels are cut for 1, 2, 4, 8 and more rows, and attention for
/// tiles of some sizes. The last is longer than what is read at once.
const PROMPT_TOKENS: [usize; 12] = [1, 2, 3, 5, 8, 9, 17, 33, 65, 129, 256, 300];

/// Answers that go on together in a batch.
const BATCH_ROWS: [usize; 4] = [2, 4, 8, 16];

/// Tokens of an answer: the first is read from a prompt, the others from each other.
const NEW_TOKENS: usize = 3;

/// Words of the questions that a projector which reads them is asked: its kernels are cut for the
/// number of rows too, of which one more than these is as good as many.
const QUESTION_WORDS: RangeInclusive<usize> = 2..=8;

/// What is being warmed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarmUpStage {
    /// Encoding pictures.
    Encode,
    /// Reading prompts.
    Prefill,
    /// Answering in a batch.
    Decode,
    /// Whole questions: pictures among text, and ways to choose tokens.
    Ask,
}

/// How far warming up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmUpProgress {
    /// What comes next.
    pub stage: WarmUpStage,
    /// Steps that are done.
    pub done_steps: usize,
    /// All of them.
    pub total_steps: usize,
    /// Different operations that have run so far; each may have compiled several kernels.
    pub num_operations: usize,
}

/// What came of warming up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarmUp {
    /// The backend compiles nothing when it runs, so nothing was done.
    NothingToCompile,
    /// Everything is compiled.
    Ready {
        /// What ran.
        kernels: KernelReport,
        /// What it took.
        time: Duration,
    },
    /// It was told to end before everything was compiled. What was until then stays so.
    Interrupted {
        /// What ran.
        kernels: KernelReport,
        /// What it took.
        time: Duration,
    },
}

/// `compiled the kernels of 11 operations in 4.2 s`
impl fmt::Display for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kernels, time, end) = match self {
            Self::NothingToCompile => return f.write_str("nothing to compile"),
            Self::Ready { kernels, time } => (kernels, time, ""),
            Self::Interrupted { kernels, time } => (kernels, time, ", then interrupted"),
        };
        let (count, seconds) = (num_operations(kernels), time.as_secs_f64());
        write!(
            f,
            "compiled the kernels of {count} operations in {seconds:.1} s{end}"
        )
    }
}

/// Something that makes kernels run.
#[derive(Debug, Clone)]
enum Step {
    Encode(ImageSize),
    Read {
        adapter: Option<String>,
        tokens: usize,
    },
    Together {
        adapter: Option<String>,
        rows: usize,
    },
    Ask {
        adapter: Option<String>,
        /// What the checkpoint says, if nothing else.
        sampling: Option<Sampling>,
        /// Of the question.
        words: usize,
    },
}

impl Step {
    fn stage(&self) -> WarmUpStage {
        match self {
            Self::Encode(_) => WarmUpStage::Encode,
            Self::Read { .. } => WarmUpStage::Prefill,
            Self::Together { .. } => WarmUpStage::Decode,
            Self::Ask { .. } => WarmUpStage::Ask,
        }
    }
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// Compiles what questions will use, so that the first one does not wait for it: encodes blank
    /// pictures, reads prompts of many lengths, goes on with batches and answers short questions,
    /// greedily, as the checkpoint says, by drawing and by beams, for the model and for each of its
    /// adapters. Nothing of it is kept but the compiled kernels: answers and caches are as without it.
    ///
    /// Before every step `progress` is told what comes; where it breaks, this ends. Where the backend
    /// compiles nothing when it runs, as the CPU's, this returns at once.
    ///
    /// It takes about as long as a few questions and the compilation, and the cache of 16 short
    /// answers.
    ///
    /// # Examples
    /// ```no_run
    /// # use burn_vlm::{MultimodalPipeline, WarmUp, backend::Cpu};
    /// use std::ops::ControlFlow;
    ///
    /// # let pipeline = MultimodalPipeline::<Cpu>::open("models/llava", &Default::default())?;
    /// let warmed_up = pipeline.warm_up(|progress| {
    ///     println!("{:?} {}/{}", progress.stage, progress.done_steps, progress.total_steps);
    ///     ControlFlow::Continue(())
    /// })?;
    /// # assert!(matches!(warmed_up, WarmUp::NothingToCompile));
    /// # Ok::<(), burn_vlm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when the device fails, or refuses a kernel under
    /// [`KernelPolicy::Strict`].
    pub fn warm_up(
        &self,
        mut progress: impl FnMut(WarmUpProgress) -> ControlFlow<()>,
    ) -> Result<WarmUp> {
        match B::vlm_compiles_kernels() {
            true => self.run_steps(&mut progress),
            false => Ok(WarmUp::NothingToCompile),
        }
    }

    fn run_steps(
        &self,
        progress: &mut dyn FnMut(WarmUpProgress) -> ControlFlow<()>,
    ) -> Result<WarmUp> {
        let (started, steps) = (Instant::now(), self.steps());
        let mut ran = KernelReport::default();
        for (done_steps, step) in steps.iter().enumerate() {
            let told = progress(WarmUpProgress {
                stage: step.stage(),
                done_steps,
                total_steps: steps.len(),
                num_operations: num_operations(&ran),
            });
            if told.is_break() {
                return Ok(WarmUp::Interrupted {
                    kernels: ran,
                    time: started.elapsed(),
                });
            }
            ran.merge(self.take(step)?);
        }
        Ok(WarmUp::Ready {
            kernels: ran,
            time: started.elapsed(),
        })
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<_> = self.picture_sizes().into_iter().map(Step::Encode).collect();
        let named = self.adapters().map(|name| Some(name.to_string()));
        let adapters: Vec<_> = std::iter::once(None).chain(named).collect();
        let lengths = PROMPT_TOKENS.into_iter();
        let lengths: Vec<_> = lengths
            .filter(|tokens| *tokens < self.context_length())
            .collect();
        let sampling = self.samplings();
        for adapter in &adapters {
            let adapter = || adapter.clone();
            steps.extend(lengths.iter().map(|&tokens| Step::Read {
                adapter: adapter(),
                tokens,
            }));
            // A token of the prompt and one behind it.
            let batches = BATCH_ROWS.iter().filter(|_| self.context_length() >= 2);
            steps.extend(batches.map(|&rows| Step::Together {
                adapter: adapter(),
                rows,
            }));
            steps.extend(sampling.iter().map(|&sampling| Step::Ask {
                adapter: adapter(),
                sampling,
                words: 1,
            }));
            let read_questions = QUESTION_WORDS.filter(|_| self.projector_reads_questions());
            steps.extend(read_questions.map(|words| Step::Ask {
                adapter: adapter(),
                sampling: Some(Sampling::Greedy),
                words,
            }));
        }
        steps
    }

    /// A square picture, and a long one that is cut into several tiles where any is.
    fn picture_sizes(&self) -> Vec<ImageSize> {
        let vision = self.spec().config.vision.as_ref();
        let sizes = vision.map(|vision| {
            let side = vision.encoder.image_size();
            let size = |height, width| ImageSize { height, width };
            vec![
                size(side, side),
                size(side, 3 * side),
                size(2 * side, 2 * side),
            ]
        });
        sizes.unwrap_or_default()
    }

    fn projector_reads_questions(&self) -> bool {
        let vision = self.spec().config.vision.as_ref();
        vision.is_some_and(|vision| match &vision.projector {
            ProjectorConfig::QFormer(config) => config.text.is_some(),
            _ => false,
        })
    }

    /// The ways to choose a token that this device can take.
    fn samplings(&self) -> Vec<Option<Sampling>> {
        let beams = BeamOptions {
            num_beams: 2,
            ..BeamOptions::default()
        };
        let mut ways = vec![Some(Sampling::Greedy), Some(Sampling::Beam(beams))];
        if self.kernel_policy() == KernelPolicy::Fallback || B::vlm_has_sample_kernel() {
            ways.push(Some(Sampling::Sample(SampleOptions::default())));
            ways.push(None);
        }
        ways
    }

    fn take(&self, step: &Step) -> Result<KernelReport> {
        match step {
            Step::Encode(size) => Ok(self.encode(&blank(*size)?)?.kernels().clone()),
            Step::Read { adapter, tokens } => {
                self.traced(|| self.read_tokens(adapter.as_deref(), *tokens))
            }
            Step::Together { adapter, rows } => {
                self.traced(|| self.step_rows(adapter.as_deref(), *rows))
            }
            Step::Ask {
                adapter,
                sampling,
                words,
            } => self.ask_briefly(adapter.as_deref(), *sampling, *words),
        }
    }

    /// Runs work and waits for it: what a device compiles, it compiles when it gets there.
    fn traced(&self, work: impl FnOnce() -> Result<()>) -> Result<KernelReport> {
        let (done, ran) = KernelTrace::collect(work);
        done?;
        if self.kernel_policy() == KernelPolicy::Strict {
            ran.check_strict()?;
        }
        kernels::sync::<B>(self.device()).map_err(|reason| DeviceError::Failed {
            stage: "warm up",
            reason,
        })?;
        Ok(ran)
    }

    /// Reads a prompt and a token behind it, in a cache that grows to it.
    fn read_tokens(&self, adapter: Option<&str>, tokens: usize) -> Result<()> {
        let decoder = self.decoder(adapter)?;
        let mut sequence = self.sequence(1);
        let go_on = || ControlFlow::Continue(());
        sequence.read(decoder, &prompt(tokens), go_on)?;
        sequence.step(decoder, 0, go_on)?;
        Ok(())
    }

    /// Reads a token of each of several answers.
    fn step_rows(&self, adapter: Option<&str>, rows: usize) -> Result<()> {
        let decoder = self.decoder(adapter)?;
        let pool = self.pool(rows, 2);
        let mut sequences: Vec<_> = (0..rows).map(|_| Sequence::new(&pool)).collect();
        for sequence in &mut sequences {
            sequence.read(decoder, &prompt(1), || ControlFlow::Continue(()))?;
        }
        let mut together: Vec<_> = sequences.iter_mut().collect();
        Sequence::step_together(decoder, &mut together, &vec![0; rows])?;
        Ok(())
    }

    fn ask_briefly(
        &self,
        adapter: Option<&str>,
        sampling: Option<Sampling>,
        words: usize,
    ) -> Result<KernelReport> {
        let mut request = AskRequest::new().max_new_tokens(NEW_TOKENS);
        if let Some(size) = self.picture_sizes().first() {
            request = request.image(blank(*size)?);
        }
        request = request.user(vec!["a"; words].join(" "));
        if let Some(name) = adapter {
            request = request.adapter(name);
        }
        if let Some(sampling) = sampling {
            request = request.sampling(sampling);
        }
        match self.answer(&request) {
            Ok(answer) => Ok(answer.kernels),
            // No question fits that context, so none has to wait.
            Err(Error::ContextOverflow { .. }) => Ok(KernelReport::default()),
            Err(error) => Err(error),
        }
    }
}

fn blank(size: ImageSize) -> Result<ImageInput> {
    ImageInput::from_rgb8(size, vec![127; 3 * size.height * size.width])
}

fn prompt<B: VlmBackend>(tokens: usize) -> DecoderInput<B> {
    DecoderInput {
        token_ids: vec![0; tokens],
        images: vec![],
    }
}

/// Different operations.
fn num_operations(report: &KernelReport) -> usize {
    let mut names: Vec<_> = report.calls().map(|(kernel, ..)| kernel).collect();
    names.dedup();
    names.len()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::backend::Cpu;
    use crate::pipeline::LoadOptions;

    fn open(name: &str, options: &LoadOptions) -> MultimodalPipeline<Cpu> {
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
        MultimodalPipeline::open(models.join(name).join("model"), options).expect("it is sound")
    }

    #[test]
    fn every_step_runs_on_a_device_that_would_not_need_it() {
        for name in ["llava", "instructblip", "llama3_rope"] {
            let pipeline = open(name, &LoadOptions::new());
            let warmed_up = pipeline.run_steps(&mut |_| ControlFlow::Continue(()));
            let Ok(WarmUp::Ready { kernels, .. }) = warmed_up else {
                panic!("{name}: {warmed_up:?}");
            };
            let names: Vec<_> = kernels.calls().map(|(kernel, ..)| kernel).collect();
            for kernel in [
                "attention_decode",
                "attention_prefill",
                "argmax",
                "sample",
                "linear",
            ] {
                assert!(names.contains(&kernel), "{name}: no {kernel} in {names:?}");
            }
        }
    }

    #[test]
    fn a_context_that_holds_no_question_has_nothing_to_wait_for() {
        for tokens in [1, 2, 4] {
            let options = LoadOptions::new().with_context_length(tokens);
            let warmed_up = open("llava", &options).run_steps(&mut |_| ControlFlow::Continue(()));
            assert!(
                matches!(warmed_up, Ok(WarmUp::Ready { .. })),
                "{tokens}: {warmed_up:?}"
            );
        }
    }
}
