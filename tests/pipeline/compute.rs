//! Half-precision activations and caches round, and change nothing else.

use anyhow::{Result, ensure};
use burn::tensor::DType;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    AskRequest, ComputeType, DeviceError, Error, ImageInput, LoadOptions, MultimodalPipeline,
};

use crate::decoding::Case;
use crate::fixture::{LLAVA, demo_folder, demo_photo, open, open_with};
use crate::reference::largest_difference;

laws![
    a_trained_model_answers_alike_in_half_precision,
    half_precision_moves_logits_by_its_rounding_and_no_more,
    a_type_that_the_device_lacks_is_an_error,
];

/// Each type, and how far it may move a logit of a random model, where they reach 10: some roundings
/// of the residual stream.
const HALVES: [(ComputeType, f32); 2] = [(ComputeType::F16, 0.08), (ComputeType::BF16, 0.6)];

fn is_there<B: VlmBackend>(compute: ComputeType) -> bool {
    B::supports_dtype(&Default::default(), compute.dtype())
}

fn a_trained_model_answers_alike_in_half_precision<B: VlmBackend>() -> Result<()> {
    let request = AskRequest::<ImageInput>::new()
        .image(demo_photo()?)
        .user("What is in this picture?");
    let answer = |options: &LoadOptions| -> Result<_> {
        let pipeline = MultimodalPipeline::<B>::open(demo_folder(), options)?;
        Ok(pipeline.answer(&request)?)
    };
    let expected = answer(&LoadOptions::new())?;
    let mut asked = vec![LoadOptions::new().with_cache(ComputeType::F16)];
    for (compute, _) in HALVES {
        if is_there::<B>(compute) {
            asked.push(LoadOptions::new().with_compute(compute));
        }
    }
    for options in asked {
        assert_eq!(answer(&options)?.text, expected.text, "{options:?}");
    }
    Ok(())
}

fn half_precision_moves_logits_by_its_rounding_and_no_more<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "vicuna_bin"] {
        let exact = Case::text(open::<B>(name)?, "Why is it so?")?;
        let expected = exact.whole(&exact.input)?;
        for (compute, tolerance) in HALVES {
            if !is_there::<B>(compute) {
                continue;
            }
            let options = LoadOptions::new().with_compute(compute);
            let case = Case::text(open_with::<B>(name, options)?, "Why is it so?")?;
            let shape = case.pipeline.model().decoder.config().cache_shape();
            assert_eq!(shape.dtype, compute.dtype());
            assert_eq!(case.embeds(&case.input).dtype(), compute.dtype());
            let moved = largest_difference(&case.whole(&case.input)?, &expected)?;
            ensure!(
                moved > 0.0 && moved < tolerance,
                "{name} {compute:?}: logits moved by {moved}"
            );
        }
    }
    Ok(())
}

fn a_type_that_the_device_lacks_is_an_error<B: VlmBackend>() -> Result<()> {
    let options = LoadOptions::new().with_compute(ComputeType::BF16);
    let opened = MultimodalPipeline::<B>::open(demo_folder(), &options);
    match (is_there::<B>(ComputeType::BF16), opened) {
        (true, Ok(_)) => {}
        (false, Err(Error::Device(DeviceError::UnsupportedType { dtype, .. }))) => {
            assert_eq!(dtype, DType::BF16.name());
        }
        (is_there, opened) => {
            let outcome = opened.map(|_| "opened");
            panic!("the device has bf16: {is_there}, and: {outcome:?}");
        }
    }
    Ok(())
}
