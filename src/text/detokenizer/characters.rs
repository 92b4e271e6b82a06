//! From the bytes that tokens spell to characters.

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// A run of bytes that is not UTF-8 is no text at all: each of its bytes is unknown.
pub(super) fn spell(run: Vec<u8>) -> Vec<String> {
    let length = run.len();
    let text = String::from_utf8(run);
    let text = text.unwrap_or_else(|_| "\u{fffd}".repeat(length));
    if text.is_empty() {
        Vec::new()
    } else {
        vec![text]
    }
}

/// The bytes a token of a byte-level vocabulary stands for; a token with a character outside of
/// that alphabet (an added token) stands for itself.
pub(super) fn byte_level_bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_level_byte).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2 writes the bytes that print as themselves, and the other 68, in order, from U+0100 on.
pub(super) fn byte_level_byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Takes the bytes off `held` whose reading no later byte can change.
pub(super) fn take_characters(held: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut read = 0;
    loop {
        match std::str::from_utf8(&held[read..]) {
            Ok(rest) => {
                text.push_str(rest);
                read = held.len();
                break;
            }
            Err(error) => {
                let sound = read + error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&held[read..sound]));
                read = sound;
                let Some(length) = error.error_len() else {
                    break;
                };
                text.push('\u{fffd}');
                read += length;
            }
        }
    }
    held.drain(..read);
    text
}
