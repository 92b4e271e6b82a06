//! A turn of a session equals the whole conversation, asked afresh.

use std::thread;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::text::Role;
use burn_vlm::{Answer, AskRequest, EncodedImage, MultimodalPipeline, Session};

use crate::fixture::{LLAVA, demo_photo, family_models, open, open_demo, seeing_models};
use crate::support::picture;

laws![
    a_further_turn_equals_the_whole_conversation_asked_afresh,
    a_trained_model_goes_on_as_if_asked_afresh,
    a_second_picture_joins_the_first,
    a_second_turn_reads_only_what_is_new,
    a_turn_costs_the_pictures_it_brings_and_no_others,
    an_undone_turn_leaves_no_trace,
    an_undone_turn_of_many_messages_goes_as_a_whole,
    a_picture_shown_after_an_undone_one_is_not_taken_for_it,
    a_session_goes_on_on_another_thread,
    a_turn_goes_on_on_another_thread_between_two_steps,
    two_sessions_of_one_pipeline_do_not_mix,
];

const FIRST: &str = "What is in this picture?";
const SECOND: &str = "And how many of them are red?";
const MAX_NEW_TOKENS: usize = 10;

/// A pipeline, a session on it, and the same conversation as one request.
struct Talk<B: VlmBackend> {
    pipeline: MultimodalPipeline<B>,
    session: Session<B>,
    whole: AskRequest<EncodedImage<B>>,
}

impl<B: VlmBackend> Talk<B> {
    fn new(pipeline: MultimodalPipeline<B>) -> Self {
        Self {
            session: pipeline.session(),
            pipeline,
            whole: AskRequest::new(),
        }
    }

    fn encode(&self, shift: u8) -> Result<EncodedImage<B>> {
        Ok(self.pipeline.encode(&picture(shift))?)
    }

    /// Asks both ways, and asserts that the answers are the same.
    fn ask(&mut self, images: &[EncodedImage<B>], text: &str) -> Result<Answer> {
        let answer = self.session.turn(&request(images, text))?;
        self.check(images, text, &answer)?;
        Ok(answer)
    }

    /// Asserts that `answer` is the one of the whole conversation.
    fn check(&mut self, images: &[EncodedImage<B>], text: &str, answer: &Answer) -> Result<()> {
        self.whole = add(self.whole.clone(), images, text);
        let expected = self.pipeline.answer(&self.whole)?;
        assert_eq!(answer.token_ids, expected.token_ids, "{text}");
        assert_eq!(answer.text, expected.text);
        assert_eq!(answer.finish, expected.finish);
        assert_eq!(answer.usage, expected.usage);
        self.whole = self.whole.clone().assistant(answer.text.clone());
        Ok(())
    }
}

fn a_turn_costs_the_pictures_it_brings_and_no_others<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let photo = pipeline.encode(&picture(1))?;
    let mut session = pipeline.session();
    let first = session.turn(&request(std::slice::from_ref(&photo), FIRST))?;
    let second = session.turn(&request(&[], SECOND))?;
    assert_eq!(first.timings.encode, photo.encode_time());
    assert!(second.usage.image_tokens > 0 && second.timings.encode.is_zero());
    Ok(())
}

fn request<B: VlmBackend>(images: &[EncodedImage<B>], text: &str) -> AskRequest<EncodedImage<B>> {
    add(AskRequest::new(), images, text)
}

fn add<B: VlmBackend>(
    request: AskRequest<EncodedImage<B>>,
    images: &[EncodedImage<B>],
    text: &str,
) -> AskRequest<EncodedImage<B>> {
    let with_images = images.iter().cloned().fold(request, AskRequest::image);
    with_images.user(text).max_new_tokens(MAX_NEW_TOKENS)
}

fn a_further_turn_equals_the_whole_conversation_asked_afresh<B: VlmBackend>() -> Result<()> {
    let models = family_models()?;
    let names = models.iter().map(|model| model.name.as_str());
    for name in names.chain(["dynamic_rope"]) {
        let mut talk = Talk::<B>::new(open(name)?);
        let sees = talk.pipeline.spec().config.vision.is_some();
        let photo = match sees {
            true => vec![talk.encode(3)?],
            false => vec![],
        };
        talk.ask(&photo, "Hi.")?;
        talk.ask(&[], "So?")?;
        talk.ask(&[], "Go on.")?;
        let roles = talk.session.messages().iter().map(|message| message.role);
        assert_eq!(
            roles.collect::<Vec<_>>(),
            [Role::User, Role::Assistant].repeat(3)
        );
    }
    Ok(())
}

fn a_trained_model_goes_on_as_if_asked_afresh<B: VlmBackend>() -> Result<()> {
    let mut talk = Talk::<B>::new(open_demo()?);
    let photo = talk.pipeline.encode(&demo_photo()?)?;
    talk.ask(&[photo], FIRST)?;
    talk.ask(&[], SECOND)?;
    talk.ask(&[], FIRST)?;
    Ok(())
}

fn a_second_picture_joins_the_first<B: VlmBackend>() -> Result<()> {
    for name in &seeing_models()? {
        let mut talk = Talk::<B>::new(open(name)?);
        let (left, right) = (talk.encode(3)?, talk.encode(120)?);
        let first = talk.ask(std::slice::from_ref(&left), FIRST)?;
        let both = talk.ask(std::slice::from_ref(&right), FIRST)?;
        assert_eq!(both.usage.image_tokens, 2 * first.usage.image_tokens);
        let again = talk.ask(&[left, right], SECOND)?;
        assert_eq!(again.usage.image_tokens, 4 * first.usage.image_tokens);
    }
    Ok(())
}

fn a_second_turn_reads_only_what_is_new<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let mut session = pipeline.session();
    let long = "a ".repeat(600);
    let reads = |answer: &Answer| {
        let calls = answer
            .kernels
            .calls()
            .filter(|(kernel, _, _)| *kernel == "embed_and_splice");
        calls.map(|(_, _, calls)| calls).sum::<usize>() + 1 - answer.usage.generated_tokens
    };
    let first = session.turn(&request(&[], &long))?;
    assert!(
        reads(&first) >= 3,
        "a prompt of {} tokens",
        first.usage.prompt_tokens
    );
    let second = session.turn(&request(&[], SECOND))?;
    assert!(second.usage.prompt_tokens > first.usage.prompt_tokens);
    assert_eq!(reads(&second), 1);
    // The last token of an answer is never read.
    let expected = second.usage.prompt_tokens + second.usage.generated_tokens - 1;
    assert_eq!(session.cached_tokens(), expected);
    Ok(())
}

fn an_undone_turn_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    let mut talk = Talk::<B>::new(open(LLAVA)?);
    let (left, right) = (talk.encode(3)?, talk.encode(120)?);
    assert!(!talk.session.undo(), "nothing was said yet");
    talk.ask(std::slice::from_ref(&left), FIRST)?;
    talk.session
        .turn(&request(std::slice::from_ref(&right), SECOND))?;
    assert!(talk.session.undo());
    assert_eq!(talk.session.messages().len(), 2);
    talk.ask(&[right], FIRST)?;
    assert!(talk.session.undo() && talk.session.undo());
    assert!(talk.session.messages().is_empty());
    talk.whole = AskRequest::new();
    talk.ask(&[left], SECOND)?;
    Ok(())
}

fn an_undone_turn_of_many_messages_goes_as_a_whole<B: VlmBackend>() -> Result<()> {
    let mut talk = Talk::<B>::new(open(LLAVA)?);
    let (left, right) = (talk.encode(3)?, talk.encode(120)?);
    talk.ask(std::slice::from_ref(&left), FIRST)?;
    let recalled = request(&[right], SECOND).assistant("Two.");
    talk.session.turn(&add(recalled, &[left], FIRST))?;
    assert_eq!(talk.session.messages().len(), 6);
    assert!(talk.session.undo());
    assert_eq!(talk.session.messages().len(), 2);
    talk.ask(&[], SECOND)?;
    Ok(())
}

fn a_picture_shown_after_an_undone_one_is_not_taken_for_it<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let mut session = pipeline.session();
    let mut answers = std::collections::BTreeSet::new();
    for shift in [3, 60, 120, 180] {
        // Encoded for this turn alone: nothing of it outlives `undo`.
        let request = AskRequest::new()
            .image(picture(shift))
            .user(FIRST)
            .max_new_tokens(4);
        let answer = session.turn(&request)?;
        assert_eq!(
            answer.token_ids,
            pipeline.answer(&request)?.token_ids,
            "picture {shift}"
        );
        answers.insert(answer.token_ids);
        session.undo();
    }
    assert!(answers.len() > 1, "the pictures decide something");
    Ok(())
}

fn a_session_goes_on_on_another_thread<B: VlmBackend>() -> Result<()> {
    let mut talk = Talk::<B>::new(open(LLAVA)?);
    let photo = talk.encode(3)?;
    talk.ask(&[photo], FIRST)?;
    let mut session = talk.session;
    let moved = thread::spawn(move || (session.turn(&request(&[], SECOND)), session));
    let (second, session) = moved.join().expect("no turn panics");
    talk.session = session;
    talk.check(&[], SECOND, &second?)?;
    talk.ask(&[], FIRST)?;
    Ok(())
}

fn a_turn_goes_on_on_another_thread_between_two_steps<B: VlmBackend>() -> Result<()> {
    let mut talk = Talk::<B>::new(open(LLAVA)?);
    let photo = talk.encode(3)?;
    let photos = [photo];
    let mut stream = talk.session.stream(&request(&photos, FIRST))?;
    let begun = stream.next();
    let moved = thread::scope(|scope| scope.spawn(move || stream.finish()).join());
    let first = moved.expect("no turn panics")?;
    assert!(
        first
            .text
            .starts_with(&begun.expect("the answer has a piece")?)
    );
    talk.check(&photos, FIRST, &first)?;
    talk.ask(&[], SECOND)?;
    let mut stream = talk.pipeline.stream(&talk.whole.clone().user(FIRST))?;
    stream.next();
    let moved = thread::scope(|scope| scope.spawn(move || stream.finish()).join());
    let third = moved.expect("no answer panics")?;
    talk.check(&[], FIRST, &third)
}

fn two_sessions_of_one_pipeline_do_not_mix<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let (mut left, mut right) = (Talk::new(pipeline.clone()), Talk::new(pipeline));
    let (first, second) = (left.encode(3)?, left.encode(120)?);
    left.ask(std::slice::from_ref(&first), FIRST)?;
    right.ask(&[second], FIRST)?;
    left.ask(&[], SECOND)?;
    right.ask(&[first], SECOND)?;
    left.ask(&[], FIRST)?;
    Ok(())
}
