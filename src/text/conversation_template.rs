//! Prompt formats as data: one entry of [`TEMPLATES`] a format.

use super::conversation::{Ending, Message, Role, check_content, check_order};
use super::prompt::{Bos, ImageBorder, Piece, Prompt};
use crate::error::{Result, TemplateError};

/// How one family of models writes a conversation.
///
/// The texts hold control tokens by their spelling; `{bos}` and `{eos}` stand for the tokenizer's
/// own. The pictures of a message go in front of its text, as the models were trained, and its
/// texts are joined by newlines. Answers of earlier turns are trimmed, for the template writes the
/// space around them.
///
/// # Examples
///
/// ```
/// use burn_vlm::ConversationTemplate;
///
/// let template = ConversationTemplate::by_name("vicuna_v0")?;
/// assert_eq!(template.stop, ["###"]);
/// assert!(ConversationTemplate::by_name("vicuna_v9").is_err());
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationTemplate {
    /// Its name.
    pub name: &'static str,
    /// Other names it is known by.
    pub aliases: &'static [&'static str],
    /// The system text where the request brings none.
    pub default_system: &'static str,
    /// The same where the first question says what it is about.
    pub default_system_with_context: &'static str,
    /// Strings at which an answer ends, besides the end token.
    pub stop: &'static [&'static str],
    /// What stands around the system text, where there is one.
    system: Around,
    system_place: SystemPlace,
    user: Around,
    /// What stands around what a question is about, behind the question.
    context: Around,
    assistant: Around,
    /// What stands between an answer and the next question.
    between_turns: &'static str,
    /// What makes the model answer.
    generation_prompt: &'static str,
    /// What stands around each picture.
    image: Around,
    image_border: ImageBorder,
}

/// Text before and behind something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Around {
    before: &'static str,
    behind: &'static str,
}

const fn around(before: &'static str, behind: &'static str) -> Around {
    Around { before, behind }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SystemPlace {
    /// In front of the first message.
    Front,
    /// Inside the first user message, before what it says.
    InFirstMessage,
}

/// Text and pictures and nothing else; the others are changes to it.
const PLAIN: ConversationTemplate = ConversationTemplate {
    name: "plain",
    aliases: &[],
    default_system: "",
    default_system_with_context: "",
    stop: &[],
    system: around("", "\n"),
    system_place: SystemPlace::Front,
    user: around("", ""),
    context: around("\n", ""),
    assistant: around("", "\n"),
    between_turns: "",
    generation_prompt: "",
    image: around("", ""),
    image_border: ImageBorder::Token,
};

/// The prompt format of LLaMA-2 chat.
const LLAMA_2: ConversationTemplate = ConversationTemplate {
    name: "llama-2",
    aliases: &["llama_2", "llama2"],
    system: around("<<SYS>>\n", "\n<</SYS>>\n\n"),
    system_place: SystemPlace::InFirstMessage,
    user: around("[INST] ", " [/INST]"),
    assistant: around(" ", " {eos}"),
    between_turns: "{bos}",
    image: around("", "\n"),
    ..PLAIN
};

const MINIGPT4_SYSTEM: &str = "Give the following image: <Img>ImageContent</Img>. You will be able \
     to see the image once I provide it to you. Please answer my questions.";

/// Every prompt format that goes by a name.
///
/// A checkpoint may bring its own besides, in Jinja.
pub const TEMPLATES: &[ConversationTemplate] = &[
    PLAIN,
    // The separator is FastChat's `zero_shot`, which agrees with the text v0 was trained on.
    ConversationTemplate {
        name: "vicuna_v0",
        default_system: "A chat between a curious human and an artificial intelligence assistant. \
             The assistant gives helpful, detailed, and polite answers to the human's questions.",
        stop: &["###"],
        system: around("", "\n### "),
        user: around("Human: ", "\n### "),
        assistant: around("Assistant: ", "\n### "),
        generation_prompt: "Assistant:",
        image: around("", "\n"),
        ..PLAIN
    },
    ConversationTemplate {
        name: "vicuna_v1.1",
        aliases: &[
            "vicuna",
            "vicuna_v1",
            "vicuna_v1.3",
            "vicuna_v1.5",
            "llava",
            "kovicuna",
        ],
        default_system: "A chat between a curious user and an artificial intelligence assistant. \
             The assistant gives helpful, detailed, and polite answers to the user's questions.",
        system: around("", " "),
        user: around("USER: ", " "),
        assistant: around("ASSISTANT: ", "{eos}"),
        generation_prompt: "ASSISTANT:",
        image: around("", "\n"),
        ..PLAIN
    },
    ConversationTemplate {
        name: "alpaca",
        default_system: "Below is an instruction that describes a task. Write a response that \
             appropriately completes the request.",
        default_system_with_context: "Below is an instruction that describes a task, paired with \
             an input that provides further context. Write a response that appropriately \
             completes the request.",
        system: around("", "\n\n"),
        user: around("### Instruction:\n", "\n\n"),
        context: around("\n\n### Input:\n", ""),
        assistant: around("### Response:", "{eos}\n\n"),
        generation_prompt: "### Response:",
        image: around("", "\n"),
        ..PLAIN
    },
    // English and Korean, as the LLaMA models were trained; those on Polyglot have Korean alone.
    ConversationTemplate {
        name: "koalpaca_v1.0",
        aliases: &["koalpaca_llama"],
        default_system: "Below is an instruction that describes a task.\n\
            아래는 작업을 설명하는 명령어입니다.\n\n\
            Write a response that appropriately completes the request.\n\
            명령어에 따른 요청을 적절히 완료하는 응답을 작성하세요.",
        default_system_with_context: "Below is an instruction that describes a task, paired with \
            an input that provides further context.\n\
            아래는 작업을 설명하는 명령어와 추가적 맥락을 제공하는 입력이 짝을 이루는 예제입니다.\n\n\
            Write a response that appropriately completes the request.\n\
            요청을 적절히 완료하는 응답을 작성하세요.",
        system: around("", "\n\n"),
        user: around("### Instruction(명령어):\n", "\n\n"),
        context: around("\n\n### Input(입력):\n", ""),
        assistant: around("### Response(응답):", "{eos}\n\n"),
        generation_prompt: "### Response(응답):",
        image: around("", "\n"),
        ..PLAIN
    },
    ConversationTemplate {
        name: "koalpaca",
        aliases: &["koalpaca_v1.1"],
        stop: &["###"],
        system: around("### 맥락: ", "\n\n"),
        user: around("### 질문: ", "\n\n"),
        context: around("\n\n### 맥락: ", ""),
        assistant: around("### 답변: ", "{eos}"),
        generation_prompt: "### 답변:",
        image: around("", "\n"),
        ..PLAIN
    },
    LLAMA_2,
    ConversationTemplate {
        name: "mistral",
        aliases: &["mistral_instruct"],
        system: around("", "\n\n"),
        assistant: around(" ", "{eos}"),
        between_turns: "",
        ..LLAMA_2
    },
    ConversationTemplate {
        name: "llama-3",
        aliases: &["llama_3", "llama3"],
        system: around(
            "<|start_header_id|>system<|end_header_id|>\n\n",
            "<|eot_id|>",
        ),
        user: around("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        assistant: around(
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|eot_id|>",
        ),
        generation_prompt: "<|start_header_id|>assistant<|end_header_id|>\n\n",
        image: around("", "\n"),
        ..PLAIN
    },
    ConversationTemplate {
        name: "chatml",
        system: around("<|im_start|>system\n", "<|im_end|>\n"),
        user: around("<|im_start|>user\n", "<|im_end|>\n"),
        assistant: around("<|im_start|>assistant\n", "<|im_end|>\n"),
        generation_prompt: "<|im_start|>assistant\n",
        image: around("", "\n"),
        ..PLAIN
    },
    ConversationTemplate {
        name: "minigpt4_vicuna0",
        aliases: &["minigpt4"],
        default_system: MINIGPT4_SYSTEM,
        stop: &["###"],
        system: around("", "###"),
        user: around("Human: ", "###"),
        assistant: around("Assistant: ", "###"),
        generation_prompt: "Assistant: ",
        image: around("<Img>", "</Img> "),
        image_border: ImageBorder::Cut,
        ..PLAIN
    },
    ConversationTemplate {
        name: "minigpt4_llama2",
        default_system: MINIGPT4_SYSTEM,
        system: around("", ""),
        user: around("{bos}[INST] ", " [/INST] "),
        assistant: around("", ""),
        image: around("<Img>", "</Img> "),
        image_border: ImageBorder::Cut,
        ..PLAIN
    },
    // As BLIP-2's authors ask it, in turns too.
    ConversationTemplate {
        name: "blip2",
        aliases: &["blip-2"],
        user: around("Question: ", " "),
        assistant: around("Answer: ", ". "),
        generation_prompt: "Answer:",
        ..PLAIN
    },
    ConversationTemplate {
        name: "minigpt_v2",
        user: around("{bos}[INST] ", " [/INST]"),
        assistant: around("", ""),
        image: around("<Img>", "</Img> "),
        image_border: ImageBorder::Cut,
        ..PLAIN
    },
];

impl ConversationTemplate {
    /// Finds a template by its name or another it is known by.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Unknown`], which lists every name.
    pub fn by_name(name: &str) -> Result<&'static Self> {
        let matches = |template: &&Self| template.name == name || template.aliases.contains(&name);
        let template = TEMPLATES.iter().find(matches);
        Ok(template.ok_or_else(|| TemplateError::Unknown {
            name: name.to_string(),
            known: Self::names(),
        })?)
    }

    /// The name of every template.
    pub fn names() -> Vec<String> {
        TEMPLATES
            .iter()
            .map(|template| template.name.to_string())
            .collect()
    }

    /// Every text that the template itself writes.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'static str> {
        let around = [
            self.system,
            self.user,
            self.context,
            self.assistant,
            self.image,
        ];
        let around = around
            .into_iter()
            .flat_map(|around| [around.before, around.behind]);
        around.chain([
            self.default_system,
            self.default_system_with_context,
            self.between_turns,
            self.generation_prompt,
        ])
    }

    /// Writes a conversation as a prompt.
    ///
    /// # Errors
    ///
    /// [`RequestError::RoleOrder`](crate::error::RequestError::RoleOrder) unless the user and the
    /// assistant alternate, [`RequestError::Empty`](crate::error::RequestError::Empty) when nothing
    /// is asked, and [`RequestError::Parameter`](crate::error::RequestError::Parameter) when
    /// another than the user shows a picture.
    pub(crate) fn render(&self, messages: &[Message], ending: Ending) -> Result<Prompt> {
        check_content(messages)?;
        check_order(messages, ending)?;
        let (system, turns) = match messages.split_first() {
            Some((first, turns)) if first.role == Role::System => (Some(first.text()), turns),
            _ => (None, messages),
        };
        let is_about = turns
            .first()
            .is_some_and(|first| !first.context().is_empty());
        let mut writer = PromptWriter {
            template: self,
            default_system: self.default_system(is_about),
            pieces: Vec::new(),
            num_images: 0,
        };
        if self.system_place == SystemPlace::Front {
            writer.system(system.as_deref());
        }
        for (index, message) in turns.iter().enumerate() {
            let is_open = ending == Ending::OpenAnswer && index + 1 == turns.len();
            match message.role {
                Role::Assistant if is_open => writer.open_answer(message),
                Role::Assistant => writer.answer(message),
                Role::User | Role::System => {
                    writer.write(if index == 0 { "" } else { self.between_turns });
                    writer.write(self.user.before);
                    if index == 0 && self.system_place == SystemPlace::InFirstMessage {
                        writer.system(system.as_deref());
                    }
                    writer.question(message);
                    writer.write(self.user.behind);
                }
            }
        }
        if ending == Ending::GenerationPrompt {
            writer.write(self.generation_prompt);
        }
        Ok(Prompt::new(writer.pieces, Bos::First).with_image_border(self.image_border))
    }

    fn default_system(&self, has_context: bool) -> &'static str {
        match self.default_system_with_context {
            with_context if has_context && !with_context.is_empty() => with_context,
            _ => self.default_system,
        }
    }
}

struct PromptWriter<'a> {
    template: &'a ConversationTemplate,
    default_system: &'static str,
    pieces: Vec<Piece>,
    num_images: usize,
}

impl PromptWriter<'_> {
    fn system(&mut self, text: Option<&str>) {
        let default = self.default_system;
        let piece = match text {
            Some(text) => Piece::Message(text.to_string()),
            None => Piece::Template(default.to_string()),
        };
        if !text.unwrap_or(default).is_empty() {
            self.write(self.template.system.before);
            self.pieces.push(piece);
            self.write(self.template.system.behind);
        }
    }

    fn question(&mut self, message: &Message) {
        for _ in 0..message.num_images() {
            self.write(self.template.image.before);
            self.pieces.push(Piece::Image(self.num_images));
            self.num_images += 1;
            self.write(self.template.image.behind);
        }
        self.pieces.push(Piece::Message(message.text()));
        let context = message.context();
        if !context.is_empty() {
            self.write(self.template.context.before);
            self.pieces.push(Piece::Message(context));
            self.write(self.template.context.behind);
        }
    }

    fn answer(&mut self, message: &Message) {
        self.write(self.template.assistant.before);
        self.pieces
            .push(Piece::Message(message.text().trim().to_string()));
        self.write(self.template.assistant.behind);
    }

    fn open_answer(&mut self, message: &Message) {
        self.write(self.template.assistant.before);
        self.pieces
            .push(Piece::Message(message.text().trim_start().to_string()));
    }

    /// Writes text of the template, with `{bos}` and `{eos}` filled in.
    fn write(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest
            .find("{bos}")
            .into_iter()
            .chain(rest.find("{eos}"))
            .min()
        {
            self.write_text(&rest[..at]);
            let is_bos = rest[at..].starts_with("{bos}");
            self.pieces
                .push(if is_bos { Piece::Bos } else { Piece::Eos });
            rest = &rest[at + "{bos}".len()..];
        }
        self.write_text(rest);
    }

    fn write_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Template(text.to_string()));
        }
    }
}

#[cfg(test)]
mod tests;
