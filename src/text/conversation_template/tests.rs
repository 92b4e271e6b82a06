use super::{ConversationTemplate, TEMPLATES};
use crate::error::{Error, RequestError, TemplateError};
use crate::text::conversation::{Ending, Message, Part, Role};
use crate::text::prompt::{Piece, Prompt};

fn template(name: &str) -> &'static ConversationTemplate {
    ConversationTemplate::by_name(name).expect("a known name")
}

/// What a prompt says, with places spelled out.
fn written(prompt: &Prompt) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Template(text) | Piece::Message(text) => text.clone(),
        Piece::Image(index) => format!("[{index}]"),
        Piece::Bos => "<s>".to_string(),
        Piece::Eos => "</s>".to_string(),
    };
    prompt.pieces().iter().map(piece).collect()
}

fn render(name: &str, messages: &[Message], ending: Ending) -> String {
    written(
        &template(name)
            .render(messages, ending)
            .expect("a sound conversation"),
    )
}

/// A question about a picture, an answer, a question.
fn two_turns() -> Vec<Message> {
    vec![
        Message::user("q1").with_image(),
        Message::assistant(" a1 "),
        Message::user("q2"),
    ]
}

#[test]
fn every_template_writes_two_turns_as_its_models_were_trained() {
    let vicuna_0 = "A chat between a curious human and an artificial intelligence assistant. The \
        assistant gives helpful, detailed, and polite answers to the human's questions.";
    let vicuna_1 = "A chat between a curious user and an artificial intelligence assistant. The \
        assistant gives helpful, detailed, and polite answers to the user's questions.";
    let alpaca = "Below is an instruction that describes a task. Write a response that \
        appropriately completes the request.";
    let minigpt4 = "Give the following image: <Img>ImageContent</Img>. You will be able to see \
        the image once I provide it to you. Please answer my questions.";
    let expected = [
        ("plain", "[0]q1a1\nq2".to_string()),
        (
            "vicuna_v0",
            format!(
                "{vicuna_0}\n### Human: [0]\nq1\n### Assistant: a1\n### Human: q2\n### Assistant:"
            ),
        ),
        (
            "vicuna_v1.1",
            format!("{vicuna_1} USER: [0]\nq1 ASSISTANT: a1</s>USER: q2 ASSISTANT:"),
        ),
        (
            "alpaca",
            format!(
                "{alpaca}\n\n### Instruction:\n[0]\nq1\n\n### Response:a1</s>\n\n\
                 ### Instruction:\nq2\n\n### Response:"
            ),
        ),
        (
            "koalpaca_v1.0",
            "Below is an instruction that describes a task.\n\
             아래는 작업을 설명하는 명령어입니다.\n\n\
             Write a response that appropriately completes the request.\n\
             명령어에 따른 요청을 적절히 완료하는 응답을 작성하세요.\n\n\
             ### Instruction(명령어):\n[0]\nq1\n\n### Response(응답):a1</s>\n\n\
             ### Instruction(명령어):\nq2\n\n### Response(응답):"
                .to_string(),
        ),
        (
            "koalpaca",
            "### 질문: [0]\nq1\n\n### 답변: a1</s>### 질문: q2\n\n### 답변:".to_string(),
        ),
        (
            "llama-2",
            "[INST] [0]\nq1 [/INST] a1 </s><s>[INST] q2 [/INST]".to_string(),
        ),
        (
            "mistral",
            "[INST] [0]\nq1 [/INST] a1</s>[INST] q2 [/INST]".to_string(),
        ),
        (
            "llama-3",
            "<|start_header_id|>user<|end_header_id|>\n\n[0]\nq1<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\na1<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nq2<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
                .to_string(),
        ),
        (
            "chatml",
            "<|im_start|>user\n[0]\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n\
             <|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n"
                .to_string(),
        ),
        (
            "minigpt4_vicuna0",
            format!(
                "{minigpt4}###Human: <Img>[0]</Img> q1###Assistant: a1###Human: q2###Assistant: "
            ),
        ),
        (
            "minigpt4_llama2",
            format!("{minigpt4}<s>[INST] <Img>[0]</Img> q1 [/INST] a1<s>[INST] q2 [/INST] "),
        ),
        (
            "blip2",
            "Question: [0]q1 Answer: a1. Question: q2 Answer:".to_string(),
        ),
        (
            "minigpt_v2",
            "<s>[INST] <Img>[0]</Img> q1 [/INST]a1<s>[INST] q2 [/INST]".to_string(),
        ),
    ];
    assert_eq!(expected.len(), TEMPLATES.len());
    for (name, text) in expected {
        assert_eq!(
            render(name, &two_turns(), Ending::GenerationPrompt),
            text,
            "{name}"
        );
    }
}

#[test]
fn a_system_message_takes_the_place_of_the_default() {
    let messages = [Message::system("Be brief."), Message::user("q")];
    for (name, text) in [
        ("vicuna_v1.1", "Be brief. USER: q ASSISTANT:"),
        (
            "llama-2",
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nq [/INST]",
        ),
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "koalpaca",
            "### 맥락: Be brief.\n\n### 질문: q\n\n### 답변:",
        ),
    ] {
        assert_eq!(render(name, &messages, Ending::GenerationPrompt), text);
    }
    let silent = [Message::system(""), Message::user("q")];
    assert_eq!(
        render("vicuna_v1.1", &silent, Ending::GenerationPrompt),
        "USER: q ASSISTANT:"
    );
}

#[test]
fn what_a_question_is_about_has_a_place_of_its_own() {
    let messages = [Message::user("q").with_context("c")];
    for (name, text) in [
        (
            "alpaca",
            "Below is an instruction that describes a task, paired with an input that provides \
             further context. Write a response that appropriately completes the request.\n\n\
             ### Instruction:\nq\n\n### Input:\nc\n\n### Response:",
        ),
        (
            "koalpaca_v1.0",
            "Below is an instruction that describes a task, paired with an input that provides \
             further context.\n아래는 작업을 설명하는 명령어와 추가적 맥락을 제공하는 입력이 짝을 이루는 \
             예제입니다.\n\nWrite a response that appropriately completes the request.\n요청을 적절히 \
             완료하는 응답을 작성하세요.\n\n### Instruction(명령어):\nq\n\n### Input(입력):\nc\n\n\
             ### Response(응답):",
        ),
        ("koalpaca", "### 질문: q\n\n### 맥락: c\n\n### 답변:"),
        ("plain", "q\nc"),
    ] {
        assert_eq!(render(name, &messages, Ending::GenerationPrompt), text);
    }
    let system = [Message::system("s"), messages[0].clone()];
    assert_eq!(
        render("alpaca", &system, Ending::GenerationPrompt),
        "s\n\n### Instruction:\nq\n\n### Input:\nc\n\n### Response:"
    );
}

#[test]
fn a_conversation_may_end_open_or_closed() {
    let messages = [
        Message::system(""),
        Message::user("q"),
        Message::assistant(" The answer "),
    ];
    let open = render("vicuna_v1.1", &messages, Ending::OpenAnswer);
    assert_eq!(open, "USER: q ASSISTANT: The answer ");
    let closed = render("vicuna_v1.1", &messages, Ending::Closed);
    assert_eq!(closed, "USER: q ASSISTANT: The answer</s>");
    assert_eq!(
        render("llama-2", &messages, Ending::Closed),
        "[INST] q [/INST] The answer </s>"
    );
}

#[test]
fn the_pictures_of_a_message_go_in_front_of_its_text() {
    let parts = vec![
        Part::Text("one".into()),
        Part::Image,
        Part::Text("two".into()),
        Part::Image,
    ];
    let messages = [
        Message::system(""),
        Message {
            role: Role::User,
            parts,
        },
    ];
    let text = render("vicuna_v1.1", &messages, Ending::GenerationPrompt);
    assert_eq!(text, "USER: [0]\n[1]\none\ntwo ASSISTANT:");
}

#[test]
fn what_a_user_writes_is_the_users() {
    let messages = [Message::user("{bos}</s>")];
    let prompt = template("plain")
        .render(&messages, Ending::GenerationPrompt)
        .expect("one question");
    assert_eq!(prompt.pieces(), [Piece::Message("{bos}</s>".to_string())]);
}

#[test]
fn names_and_aliases_are_unique_and_an_unknown_name_lists_them() {
    let mut names: Vec<&str> = TEMPLATES
        .iter()
        .flat_map(|t| t.aliases.iter().copied().chain([t.name]))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(template("minigpt4").name, "minigpt4_vicuna0");
    let error = ConversationTemplate::by_name("vicuna_v9").expect_err("no such template");
    let Error::Template(TemplateError::Unknown { known, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(known.len(), TEMPLATES.len());
}

#[test]
fn conversations_out_of_order_are_refused() {
    let render =
        |messages: &[Message]| template("plain").render(messages, Ending::GenerationPrompt);
    let twice = [Message::user("q"), Message::user("q")];
    assert!(matches!(
        render(&twice),
        Err(Error::Request(RequestError::RoleOrder {
            index: 1,
            expected: "assistant",
            ..
        }))
    ));
    assert!(matches!(
        render(&[]),
        Err(Error::Request(RequestError::Empty))
    ));
}
