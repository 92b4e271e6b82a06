//! CUDA text to text that a host's C++ compiler takes together with `shim/`.
//!
//! * `#include` and `#line` go away,
//! * `extern __shared__ T name[]` becomes a pointer to the emulated shared memory,
//! * `asm("op a, b;" : .. : ..)` becomes the call `ptx::op(a, b)`, so that an instruction which the
//!   shim lacks is an ordinary compile error with its name,
//! * before accesses to shared memory a lane may wait for its warp (`emu::join`).
//!
//! Lines keep their numbers: messages of the shim and of the compiler name them.

const SHARED: &str = "extern __shared__";

/// Rewrites the text of a kernel.
///
/// # Errors
///
/// What could not be understood.
pub(crate) fn rewrite(source: &str) -> Result<String, String> {
    let mut text = String::with_capacity(2 * source.len());
    for (number, line) in source.lines().enumerate() {
        if touches_shared_memory(line) {
            text.push_str(&format!("emu::join({number}); "));
        }
        if !line.starts_with("#include") && !line.starts_with("#line") {
            text.push_str(line);
        }
        text.push('\n');
    }
    replace_asm(&replace_shared(text)?)
}

/// Whether CubeCL wrote this statement and it indexes shared memory: `shared_memory_7[..]`, or a
/// `_tmp_7[..]` that points into it.
fn touches_shared_memory(line: &str) -> bool {
    let is_statement = ["const ", " const ", "shared_memory_", "_tmp_", "l_mut_"]
        .iter()
        .any(|start| line.starts_with(start));
    is_statement
        && ["shared_memory_", "_tmp_"]
            .iter()
            .any(|name| is_indexed(line, name))
}

fn is_indexed(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let rest = line[at + name.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with('[')
    })
}

fn replace_shared(mut text: String) -> Result<String, String> {
    while let Some(start) = text.find(SHARED) {
        let end = text[start..]
            .find(';')
            .ok_or("`extern __shared__` without its end")?
            + start;
        let mut declaration = text[start + SHARED.len()..end].trim();
        if declaration.starts_with("__align__") {
            let (_, rest) = declaration
                .split_once(')')
                .ok_or("`__align__` without its end")?;
            declaration = rest.trim();
        }
        let (element, name) = declaration
            .trim_end_matches("[]")
            .rsplit_once(' ')
            .ok_or("`extern __shared__` without a name")?;
        let pointer = format!("{element}* {name} = ({element}*)emu::shared_memory");
        text.replace_range(start..end, &pointer);
    }
    Ok(text)
}

fn replace_asm(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, open)) = find_asm(rest) {
        let close = closing(rest, open)?;
        out.push_str(&rest[..start]);
        out.push_str(&ptx_calls(&rest[open + 1..close])?);
        let num_lines = rest[start..close].matches('\n').count();
        out.extend(std::iter::repeat_n('\n', num_lines));
        rest = &rest[close + 1..];
        rest = rest.strip_prefix(';').unwrap_or(rest);
    }
    Ok(out + rest)
}

/// Where the next `asm` or `asm volatile` starts, and its opening bracket.
fn find_asm(text: &str) -> Option<(usize, usize)> {
    text.match_indices("asm").find_map(|(start, word)| {
        let is_inside_word =
            text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
        let after = text[start + word.len()..].trim_start();
        let after = after.strip_prefix("volatile").unwrap_or(after).trim_start();
        let open = text.len() - after.len();
        (!is_inside_word && after.starts_with('(')).then_some((start, open))
    })
}

/// The position of the bracket that closes the one at `open`, strings skipped.
fn closing(text: &str, open: usize) -> Result<usize, String> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in text[open..].char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(open + at);
        }
    }
    Err("`asm` without its end".to_string())
}

/// An `asm` statement: its instructions, and the expressions that `%0`, `%1`, .. stand for.
#[derive(Debug, Default, PartialEq)]
struct Asm {
    template: String,
    operands: Vec<String>,
}

/// Reads `"text" "text" : "=r"(a), .. : "r"(b), .. : "memory"`.
fn parse_asm(inside: &str) -> Result<Asm, String> {
    let mut asm = Asm::default();
    let mut in_template = true;
    let mut at = 0;
    while let Some(c) = inside[at..].chars().next() {
        let mut end = at + c.len_utf8();
        match c {
            '"' => {
                let len = string_len(&inside[end..])?;
                if in_template {
                    asm.template.push_str(&inside[end..end + len]);
                }
                end += len + 1;
            }
            ':' => in_template = false,
            '(' => {
                let close = closing(inside, at)?;
                asm.operands.push(inside[end..close].trim().to_string());
                end = close + 1;
            }
            _ => {}
        }
        at = end;
    }
    asm.template = asm.template.replace("\\n", "\n").replace("\\t", " ");
    Ok(asm)
}

fn string_len(text: &str) -> Result<usize, String> {
    let mut is_escaped = false;
    let is_end = |(_, c): &(usize, char)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    };
    let end = text.char_indices().find(is_end);
    end.map(|(at, _)| at)
        .ok_or_else(|| "a string in `asm` without its end".to_string())
}

fn ptx_calls(inside: &str) -> Result<String, String> {
    let asm = parse_asm(inside)?;
    // A whole block with a predicate register, always this one.
    if asm.template.contains("elect.sync") {
        let is_elected = asm
            .operands
            .first()
            .ok_or("elect.sync without an operand")?;
        return Ok(format!("ptx::elect({is_elected});"));
    }
    let instructions = asm
        .template
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    instructions
        .map(|instruction| ptx_call(instruction, &asm.operands))
        .collect()
}

fn ptx_call(instruction: &str, operands: &[String]) -> Result<String, String> {
    let (opcode, arguments) = instruction
        .split_once(char::is_whitespace)
        .unwrap_or((instruction, ""));
    let function = opcode.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let is_bracket = |c: char| c.is_whitespace() || "{}[]".contains(c);
    let arguments: Vec<String> = arguments
        .split(',')
        .map(|argument| argument.trim_matches(is_bracket))
        .filter(|argument| !argument.is_empty())
        .map(|argument| resolve(argument, operands))
        .collect::<Result<_, _>>()
        .map_err(|argument| format!("operand `{argument}` of `{instruction}` is unknown"))?;
    Ok(format!("ptx::{function}({});", arguments.join(", ")))
}

fn resolve(argument: &str, operands: &[String]) -> Result<String, String> {
    let Some(number) = argument.strip_prefix('%') else {
        return Ok(argument.to_string());
    };
    let operand = number
        .parse()
        .ok()
        .and_then(|number: usize| operands.get(number));
    operand.cloned().ok_or_else(|| argument.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_shared_memory_becomes_a_pointer() {
        let text = "extern __shared__ __align__(16) uint8 dynamic_shared_mem[];\n";
        let expected = "uint8* dynamic_shared_mem = (uint8*)emu::shared_memory;\n";
        assert_eq!(rewrite(text).as_deref(), Ok(expected));
    }

    #[test]
    fn an_instruction_becomes_a_call() {
        let text = r#"asm volatile("mma.sync.m16n8k8 {%0, %1}, {%2};\n"
            : "=f"(d[0]), "=f"(f(1)) : "r"(a) : "memory");"#;
        let expected = "ptx::mma_sync_m16n8k8(d[0], f(1), a);\n\n";
        assert_eq!(rewrite(text).as_deref(), Ok(expected));
    }

    #[test]
    fn several_instructions_share_one_statement_and_keep_its_lines() {
        let text =
            "asm volatile(\n\"cp.async.commit_group;\\n\"\n\"cp.async.wait_group 0;\");\nnext;";
        let expected = "ptx::cp_async_commit_group();ptx::cp_async_wait_group(0);\n\n\nnext;\n";
        let rewritten = rewrite(text).expect("both instructions are plain");
        assert_eq!(rewritten, expected);
    }

    #[test]
    fn only_indexed_shared_memory_waits_for_the_warp() {
        let text = "const float l_1 = shared_memory_0[l_2];\nfloat* p = shared_memory_0;\n";
        let expected = "emu::join(0); const float l_1 = shared_memory_0[l_2];\n\
                        float* p = shared_memory_0;\n";
        assert_eq!(rewrite(text).as_deref(), Ok(expected));
    }

    #[test]
    fn what_is_no_asm_statement_is_an_error_or_left_alone() {
        assert!(rewrite("asm volatile(\"bar.sync 0;\"").is_err());
        assert!(rewrite("asm(\"mov %0, %1;\" : \"=r\"(a));").is_err());
        assert_eq!(
            rewrite("int asm_count(0);").as_deref(),
            Ok("int asm_count(0);\n")
        );
    }
}
