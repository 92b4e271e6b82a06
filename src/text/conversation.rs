//! What is said to a model: messages, who says them, and in which order.

use crate::error::RequestError;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text. It never becomes a control token, whatever it spells.
    Text(String),
    /// What the question is about, such as a passage to summarise. Formats with a place for it, as
    /// Alpaca's `### Input:` and KoAlpaca's `### 맥락:`, write it there; for others it is text.
    Context(String),
    /// A picture: the first in a conversation stands for the first picture of the request, the
    /// second for the second.
    Image,
}

/// One message of a conversation.
///
/// # Examples
///
/// ```
/// use burn_vlm::{Message, Part, Role};
///
/// let message = Message::user("What is on the table?").with_image();
/// assert_eq!(message.role, Role::User);
/// assert_eq!(message.parts[0], Part::Image);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// A system message of one text.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// A user message of one text.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// An assistant message of one text: an earlier answer.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// Puts a picture in front of the message.
    pub fn with_image(mut self) -> Self {
        self.parts.insert(0, Part::Image);
        self
    }

    /// Puts what the question is about behind it.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.parts.push(Part::Context(context.into()));
        self
    }

    /// The pictures in the message.
    pub(crate) fn num_images(&self) -> usize {
        self.parts
            .iter()
            .filter(|part| **part == Part::Image)
            .count()
    }

    /// The texts of the message, one a line.
    pub(crate) fn text(&self) -> String {
        self.lines(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Context(_) | Part::Image => None,
        })
    }

    /// What the message is about, one a line.
    pub(crate) fn context(&self) -> String {
        self.lines(|part| match part {
            Part::Context(text) => Some(text.as_str()),
            Part::Text(_) | Part::Image => None,
        })
    }

    fn lines<'m>(&'m self, line: impl Fn(&'m Part) -> Option<&'m str>) -> String {
        self.parts
            .iter()
            .filter_map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// How a rendered conversation ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// With the words that make the model answer. The last message is the user's.
    #[default]
    GenerationPrompt,
    /// In the middle of the assistant's last message, which the model goes on with.
    OpenAnswer,
    /// After the last message, as training text does.
    Closed,
}

/// Checks that the messages ask something.
///
/// # Errors
///
/// [`RequestError::Empty`] when no user message holds text or a picture, and
/// [`RequestError::Parameter`] when another than the user shows a picture.
pub(crate) fn check_content(messages: &[Message]) -> Result<(), RequestError> {
    let has_content = |message: &Message| message.num_images() > 0 || !message.text().is_empty();
    if !messages
        .iter()
        .any(|message| message.role == Role::User && has_content(message))
    {
        return Err(RequestError::Empty);
    }
    let shows = |message: &&Message| message.role != Role::User && message.num_images() > 0;
    match messages.iter().find(shows) {
        Some(message) => Err(RequestError::Parameter {
            parameter: "messages",
            found: format!("a picture in the {} message", message.role.as_str()),
            expected: "pictures in user messages only",
        }),
        None => Ok(()),
    }
}

/// Checks that the messages alternate: at most one of the system's, then the user's and the
/// assistant's in turn, ending as `ending` needs.
///
/// # Errors
///
/// [`RequestError::RoleOrder`] with the first message out of turn.
pub(crate) fn check_order(messages: &[Message], ending: Ending) -> Result<(), RequestError> {
    let mut expected = "system or user";
    for (index, message) in messages.iter().enumerate() {
        if !expected
            .split(" or ")
            .any(|role| role == message.role.as_str())
        {
            return Err(RequestError::RoleOrder {
                index,
                found: message.role.as_str(),
                expected,
            });
        }
        expected = match message.role {
            Role::System | Role::Assistant => "user",
            Role::User => "assistant",
        };
    }
    let last = match ending {
        Ending::GenerationPrompt => Role::User,
        Ending::OpenAnswer => Role::Assistant,
        Ending::Closed => return Ok(()),
    };
    match messages.last() {
        Some(message) if message.role != last => Err(RequestError::RoleOrder {
            index: messages.len() - 1,
            found: message.role.as_str(),
            expected: last.as_str(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Message, Part, Role, check_content, check_order};
    use crate::error::RequestError;

    fn conversation(roles: &str) -> Vec<Message> {
        let role = |letter| match letter {
            's' => Role::System,
            'u' => Role::User,
            _ => Role::Assistant,
        };
        roles
            .chars()
            .map(|letter| Message::new(role(letter), "text"))
            .collect()
    }

    #[test]
    fn turns_alternate_and_the_user_has_the_last_word() {
        for roles in ["u", "su", "uau", "suauau"] {
            check_order(&conversation(roles), Ending::GenerationPrompt).expect(roles);
        }
        for (roles, at) in [
            ("a", 0),
            ("ss", 1),
            ("uu", 1),
            ("us", 1),
            ("sa", 1),
            ("ua", 1),
            ("s", 0),
        ] {
            let error =
                check_order(&conversation(roles), Ending::GenerationPrompt).expect_err(roles);
            assert!(
                matches!(error, RequestError::RoleOrder { index, .. } if index == at),
                "{error}"
            );
        }
    }

    #[test]
    fn an_open_answer_ends_with_the_assistant() {
        check_order(&conversation("sua"), Ending::OpenAnswer).expect("the assistant is last");
        assert!(check_order(&conversation("u"), Ending::OpenAnswer).is_err());
        check_order(&conversation("u"), Ending::Closed).expect("either may be last");
        check_order(&conversation("ua"), Ending::Closed).expect("either may be last");
    }

    #[test]
    fn a_request_needs_a_user_who_says_or_shows_something() {
        let picture = Message {
            role: Role::User,
            parts: vec![Part::Image],
        };
        check_content(&[picture]).expect("a picture is enough");
        for empty in [vec![], conversation("sa"), vec![Message::user("")]] {
            assert!(matches!(check_content(&empty), Err(RequestError::Empty)));
        }
    }

    #[test]
    fn only_the_user_shows_pictures() {
        let mut messages = conversation("ua");
        messages[1].parts.push(Part::Image);
        let error = check_content(&messages).expect_err("the assistant shows a picture");
        assert!(
            error
                .to_string()
                .contains("a picture in the assistant message"),
            "{error}"
        );
    }

    #[test]
    fn the_texts_of_a_message_are_lines() {
        let mut message = Message::user("one").with_image().with_context("about");
        message.parts.push(Part::Text("two".to_string()));
        assert_eq!(message.text(), "one\ntwo");
        assert_eq!(message.context(), "about");
        assert_eq!(message.num_images(), 1);
    }
}
