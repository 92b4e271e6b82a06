//! A whole answer through the CUDA kernels: picture, prompt, cache and tokens.

use std::path::Path;

use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{Implementation, VlmBackend};
use burn_vlm::{Answer, AskRequest, ImageInput, LoadOptions, MultimodalPipeline, Result};

use crate::device::{EmulatedBackend, EmulatedCuda, HostCompiler};

#[test]
fn an_answer_through_cuda_kernels_equals_that_of_the_cpu() {
    if HostCompiler::find_or_skip().is_none() {
        return;
    }
    let on_cpu = answer::<Cpu>(&Default::default()).expect("the CPU answers");
    let on_cuda = answer::<EmulatedBackend>(&EmulatedCuda::strict(80)).expect("CUDA answers");
    assert_eq!(on_cuda.token_ids, on_cpu.token_ids);
    let by_kernels = on_cuda
        .kernels
        .calls()
        .all(|(_, by, _)| by == Implementation::Cube);
    assert!(by_kernels, "{:?}", on_cuda.kernels);
}

fn answer<B: VlmBackend>(device: &B::Device) -> Result<Answer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/models/llava");
    let pipeline =
        MultimodalPipeline::<B>::open_on(folder.join("model"), device, &LoadOptions::new())?;
    let picture = pipeline.encode(&ImageInput::open(folder.join("image_0.png"))?)?;
    let request = AskRequest::new()
        .image(picture)
        .user("What?")
        .max_new_tokens(4);
    pipeline.answer(&request)
}
