//! What may cross threads.

use burn_vlm::generation::Sequence;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AnswerStream, AnyAnswerStream, AnyEncodedImage, AnyImage, AnyPipeline, AnySession,
    AskRequest, CancelToken, EncodedImage, Error, ImageInput, MultimodalPipeline, Session,
    SessionStream,
};

laws![what_serves_many_threads_is_send_and_sync];

fn is_send_and_sync<T: Send + Sync>() {}

fn what_serves_many_threads_is_send_and_sync<B: VlmBackend>() -> anyhow::Result<()> {
    is_send_and_sync::<MultimodalPipeline<B>>();
    is_send_and_sync::<EncodedImage<B>>();
    is_send_and_sync::<AskRequest<EncodedImage<B>>>();
    is_send_and_sync::<AskRequest<ImageInput>>();
    is_send_and_sync::<CancelToken>();
    is_send_and_sync::<Answer>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<AnyPipeline>();
    is_send_and_sync::<AnyImage>();
    is_send_and_sync::<AnyEncodedImage>();
    is_send_and_sync::<AnySession>();
    is_send_and_sync::<AnyAnswerStream<'_>>();
    is_send_and_sync::<Session<B>>();
    is_send_and_sync::<Sequence<B>>();
    is_send_and_sync::<AnswerStream<'_, B>>();
    is_send_and_sync::<SessionStream<'_, B>>();
    Ok(())
}
