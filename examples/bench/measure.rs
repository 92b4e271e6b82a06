use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{DType, Tensor};
use burn_vlm::generation::PREFILL_CHUNK_TOKENS;
use burn_vlm::kernels::{self, KernelReport, KernelTrace, VlmBackend};
use burn_vlm::nn::{KvCache, LlamaDecoder, LogitsFor};
use burn_vlm::{ImageSize, MultimodalPipeline};

use crate::step_bytes::StepBytes;
use crate::workload::Workload;

/// The slot that reads the prompt.
const PROMPT_SLOT: usize = 0;

/// A decoder to be measured.
pub(crate) struct Subject<'a, B: VlmBackend> {
    pub(crate) decoder: &'a LlamaDecoder<B>,
    pub(crate) context_length: usize,
    pub(crate) device: &'a B::Device,
}

/// Times, one for each repetition.
pub(crate) struct Measured {
    /// Reading the prompt and choosing the first token.
    pub(crate) prompt: Vec<Duration>,
    /// Generating all new tokens.
    pub(crate) decode: Vec<Duration>,
    /// Encoding a picture of the size of a tile; empty where the model has no eyes.
    pub(crate) image_encode: Vec<Duration>,
    pub(crate) step_bytes: StepBytes,
    /// Of everything, the warm-up too.
    pub(crate) kernels: KernelReport,
}

impl<B: VlmBackend> Subject<'_, B> {
    /// Runs the workload, and the eyes where there are some.
    pub(crate) fn measure(
        &self,
        workload: Workload,
        eyes: Option<&MultimodalPipeline<B>>,
    ) -> Result<Measured> {
        let capacity = workload.capacity(self.context_length)?;
        let mut measured = Measured {
            prompt: Vec::new(),
            decode: Vec::new(),
            image_encode: Vec::new(),
            step_bytes: StepBytes::new(self.decoder, &workload),
            kernels: KernelReport::default(),
        };
        let (result, kernels) = KernelTrace::collect(|| {
            let mut cache = self
                .decoder
                .new_cache(workload.batch, capacity, self.device);
            for slot in 0..workload.batch {
                self.read(&mut cache, slot, workload.depth)?;
            }
            self.repeat(workload, &mut cache, eyes, &mut measured)
        });
        measured.kernels = kernels;
        result.map(|()| measured)
    }

    fn repeat(
        &self,
        workload: Workload,
        cache: &mut KvCache<B>,
        eyes: Option<&MultimodalPipeline<B>>,
        measured: &mut Measured,
    ) -> Result<()> {
        for repetition in 0..=workload.repetitions {
            let prompt = self.time_prompt(cache, workload)?;
            let decode = self.time_decode(cache, workload)?;
            let image_encode = eyes.map(time_image_encode).transpose()?.flatten();
            let is_warm_up = repetition == 0;
            if !is_warm_up {
                measured.prompt.push(prompt);
                measured.decode.push(decode);
                measured.image_encode.extend(image_encode);
            }
        }
        Ok(())
    }

    fn time_prompt(&self, cache: &mut KvCache<B>, workload: Workload) -> Result<Duration> {
        let started = Instant::now();
        let logits = self.read(cache, PROMPT_SLOT, workload.prompt_tokens)?;
        self.choose(logits.context("a prompt has at least one token")?)?;
        let time = started.elapsed();
        cache.truncate(PROMPT_SLOT, workload.depth);
        Ok(time)
    }

    fn time_decode(&self, cache: &mut KvCache<B>, workload: Workload) -> Result<Duration> {
        let slots: Vec<usize> = (0..workload.batch).collect();
        let mut ids = self.token_ids(workload.batch);
        let started = Instant::now();
        for _ in 0..workload.new_tokens {
            let embeds = self.decoder.embed(&ids, vec![]);
            ids = self.choose(self.decoder.decode(embeds, cache, &slots)?)?;
        }
        let time = started.elapsed();
        for slot in slots {
            cache.truncate(slot, workload.depth);
        }
        Ok(time)
    }

    /// Reads tokens as an answer reads its prompt, and returns the logits behind the last one.
    fn read(
        &self,
        cache: &mut KvCache<B>,
        slot: usize,
        num_tokens: usize,
    ) -> Result<Option<Tensor<B, 2>>> {
        let ids = self.token_ids(num_tokens);
        let mut chunks = ids.chunks(PREFILL_CHUNK_TOKENS).peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            let logits_for = if is_last {
                LogitsFor::Last
            } else {
                LogitsFor::Nothing
            };
            let embeds = self.decoder.embed(chunk, vec![]);
            let logits = self.decoder.prefill(embeds, cache, slot, logits_for)?;
            if is_last {
                return Ok(logits);
            }
        }
        Ok(None)
    }

    /// Any ids will do, so long as no two neighbours are alike.
    fn token_ids(&self, num_tokens: usize) -> Vec<u32> {
        let spread =
            (1..=num_tokens).map(|position| position * 7919 % self.decoder.config().vocab_size);
        spread.map(|id| id as u32).collect()
    }

    /// The most likely tokens, brought to the host as generation does.
    fn choose(&self, logits: Tensor<B, 2>) -> Result<Vec<u32>> {
        let ids = kernels::argmax(logits)
            .try_into_data()
            .map_err(|error| anyhow!("{error}"))?;
        B::sync(self.device).map_err(|error| anyhow!("{error}"))?;
        let ids: Vec<u32> = ids
            .iter::<i64>()
            .map(u32::try_from)
            .collect::<Result<_, _>>()?;
        let is_number = ids
            .iter()
            .all(|id| (*id as usize) < self.decoder.config().vocab_size);
        ensure!(is_number, "the logits are not numbers");
        Ok(ids)
    }
}

/// Encodes a grey picture of the size of a tile; `None` where the model has no eyes.
fn time_image_encode<B: VlmBackend>(pipeline: &MultimodalPipeline<B>) -> Result<Option<Duration>> {
    let Some(vision) = &pipeline.spec().config.vision else {
        return Ok(None);
    };
    let image_size = vision.encoder.image_size();
    let layout = pipeline.layout(ImageSize::square(image_size))?;
    let shape = [layout.num_tiles, 3, image_size, image_size];
    let tiles = Tensor::<B, 4>::zeros(shape, (pipeline.device(), DType::F32));
    B::sync(pipeline.device()).map_err(|error| anyhow!("{error}"))?;
    let started = Instant::now();
    pipeline.encode_tiles(tiles, &layout, "")?;
    Ok(Some(started.elapsed()))
}

/// The most memory that this process ever held on the host, where the system tells.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
